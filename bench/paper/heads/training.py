"""Training all heads in one run, on the same batches, regions and frozen features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from bench.paper.heads.detector import Detector
from bench.paper.heads.files import Origin, restore, store, write_heads
from bench.paper.heads.variants import Head, build_all, head_losses
from model.data.coco import CocoDataset
from model.data.fields import DataError
from model.data.instance_samples import InstanceBatch, InstanceTrainingSet, collate_instances
from model.data.samplers import MixedBatches
from model.networks.mask_rcnn import MaskRCNN
from model.predict.preprocess import network_input
from model.training.errors import TrainingError
from model.training.losses.detection import Rois, box_losses, mask_rois, training_rois
from model.training.optimizer import lr_factor
from model.training.recipe import InstanceRecipe, Sampling
from model.training.reports.log import Log

LOG_EVERY = 20  # steps


def recipe_of(
    base: InstanceRecipe, steps: int, batch_size: int, lr: float | None, seed: int
) -> InstanceRecipe:
    """Return a recipe for heads: cosine with a warm-up of at most a tenth, nothing pasted, images with masks only.

    All heads have the cross-entropy alone, which is the only loss that 4×conv has.
    """
    return replace(
        base,
        steps=steps,
        batch_size=batch_size,
        lr=base.lr if lr is None else lr,
        seed=seed,
        schedule="cosine",
        warmup_steps=min(base.warmup_steps, steps // 10),
        empty_images=False,
        augmentation=replace(base.augmentation, paste=0.0),
        sampling=replace(base.sampling, predicted_boxes=True, dice_weight=0.0),
    )


def train(
    detector: Detector,
    datasets: Sequence[CocoDataset],
    recipe: InstanceRecipe,
    out: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    checkpoint_every: int = 200,
) -> Path:
    """Train every head and return the path of `out/heads.safetensors`.

    `out/last.pt` holds the state for a resumed run, which sees the same batches and draws as an uninterrupted one.
    Raises TrainingError, DataError.
    """
    state, origin = out / "last.pt", Origin(detector.sha256, recipe)
    if state.exists() and not resume:
        raise TrainingError(f"{state} is there already: add --resume to go on, or choose another folder")
    heads = build_all(detector.checkpoint.config, recipe.seed)
    optimisers: dict[str, torch.optim.Optimizer] = {
        name: torch.optim.AdamW(head.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
        for name, head in heads.items()
    }
    start = restore(state, heads, optimisers, origin) if state.exists() else 0
    batches = _batches(
        InstanceTrainingSet(datasets, recipe.augmentation, recipe.seed, empty=False), recipe, start, workers
    )
    out.mkdir(parents=True, exist_ok=True)
    log = Log(out / "log.jsonl", start, recipe.batch_size)
    progress = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, unit="step")
    for step in progress:
        values = train_step(detector.network, heads, optimisers, next(batches), step, recipe)
        progress.set_postfix(loss=f"{log.add(values) / len(heads):.3f}", refresh=False)
        done, is_last = step + 1, step + 1 == recipe.steps
        if done % LOG_EVERY == 0 or is_last:
            log.write(done, recipe.lr * lr_factor(step, recipe))
        if done % checkpoint_every == 0 or is_last:
            store(state, heads, optimisers, done, origin)
    path = out / "heads.safetensors"
    write_heads(path, heads, origin)
    return path


def train_step(
    network: MaskRCNN,
    heads: Mapping[str, Head],
    optimisers: Mapping[str, torch.optim.Optimizer],
    batch: InstanceBatch,
    step: int,
    recipe: InstanceRecipe,
) -> dict[str, float]:
    """Take one step with each head's own optimiser. Return the losses under "conv/mask_conv" and so on."""
    seed = recipe.seed * 1_000_003 + step
    generator = torch.Generator().manual_seed(seed)
    pyramid, rois = shared_part(network, batch, recipe.sampling, generator)
    values: dict[str, float] = {}
    for name, head in heads.items():
        # Every head starts from the same seed, so its points come from the same draws.
        draws = torch.Generator().manual_seed(seed)
        found = head_losses(name, head, pyramid, rois, batch.targets, recipe.sampling, draws)
        total = torch.stack(list(found.values())).sum()
        if not torch.isfinite(total):
            raise TrainingError(
                f"the loss of {name!r} is not finite at step {step}: try a lower learning rate"
            )
        for group in optimisers[name].param_groups:
            group["lr"] = recipe.lr * lr_factor(step, recipe)
        optimisers[name].zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(head.parameters(), recipe.clip_norm)
        optimisers[name].step()
        values |= {f"{name}/{kind}": value.item() for kind, value in found.items()}
    return values


@torch.no_grad()
def shared_part(
    network: MaskRCNN, batch: InstanceBatch, sampling: Sampling, generator: torch.Generator
) -> tuple[list[Tensor], Rois]:
    """Return features and regions of a batch as in training (model/training/losses), from the frozen detector."""
    images, sizes = network_input(batch.images, network.config.preprocessing)
    pyramid: list[Tensor] = network.backbone(images)
    rois = training_rois(network, network.rpn(pyramid), sizes, batch.targets, sampling, generator)
    _, moved = box_losses(network.box_head, pyramid, rois)
    return pyramid, mask_rois(rois, moved, sampling)


def _batches(
    dataset: InstanceTrainingSet, recipe: InstanceRecipe, start: int, workers: int
) -> Iterator[InstanceBatch]:
    """Yield batches of the images with masks, beginning at step `start`."""
    count = dataset.num_masked
    if not count:
        raise DataError("nothing to train on: no image has masks")
    landscape = dataset.landscape()[:count]
    sampler = MixedBatches(
        count, 0, recipe.batch_size, seed=recipe.seed, box_only_every=0, landscape=landscape, start=start
    )
    try:
        yield from DataLoader(
            dataset, batch_sampler=sampler, collate_fn=collate_instances, num_workers=workers
        )
    except DataError as error:  # a worker process puts its traceback before the message
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error
