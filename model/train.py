"""The training loop: data in; checkpoints, a log and measurements out; on one process or several (torchrun)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from model import announce
from model import recipe as recipes
from model.average import Average
from model.batches import MixedBatches, box_only_period
from model.categories import Category
from model.checkpoint import Checkpoint, save
from model.curves import draw_curves
from model.data import Batch, CocoDataset, DataError, Target, TrainDataset, collate
from model.losses import Losses, losses
from model.optimizer import lr_factor, optimizer
from model.preprocess import network_input
from model.process import Process
from model.rcnn import MaskRCNN
from model.recipe import Recipe
from model.run_files import Log, TrainingError, cut, restore, store
from model.validation import Validation, validate

__all__ = [
    "TrainingError",
    "export_checkpoint",
    "lr_factor",
    "optimizer",
    "train",
    "training_batches",
    "training_step",
]

LOG_EVERY = 20  # steps


class TrainingStep(nn.Module):
    """Losses of one batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, network: MaskRCNN, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(
        self, images: Tensor, sizes: Tensor, targets: Sequence[Target], generator: torch.Generator
    ) -> Losses:
        return losses(
            self.network,
            images,
            sizes,
            targets,
            self.recipe.sampling,
            generator,
            bf16=self.recipe.bf16,
        )


def train(
    network: MaskRCNN,
    datasets: Sequence[CocoDataset],
    recipe: Recipe,
    out: Path,
    *,
    process: Process | None = None,
    resume: bool = False,
    workers: int = 1,
    checkpoint_every: int = 200,
    validation: Validation | None = None,
    validate_every: int | None = None,
    notes: dict[str, str] | None = None,
) -> Path | None:
    """Run a recipe; returns the native checkpoint `out/model.safetensors` (None except on rank 0).

    `out/last.pt` holds everything a resumed run needs; a resumed run sees the batches and the random
    draws that an uninterrupted one would (torch's global generator, which dropout in a timm trunk draws
    from, is seeded anew at every step). `out/log.jsonl` has a line every 20 steps and at the last one.

    Every `validate_every` steps (None: every epoch of at least 20; 0: never before the end) and after the last one
    the state is stored, the curves are drawn, and the weights that would be exported are measured on
    `validation`; that changes nothing in the training.
    """
    process = process or Process()
    state = out / "last.pt"
    if state.exists() and not resume:
        raise TrainingError(f"{state} is there already: add --resume to go on, or choose another folder")
    device = process.device()
    dataset = TrainDataset(datasets, recipe.augmentation, recipe.seed, empty=recipe.empty_images)
    step_module: nn.Module = TrainingStep(network, recipe)
    network.to(device).train()
    network.backbone.trunk.to(memory_format=torch.channels_last)
    optimiser = optimizer(network, recipe)
    average = Average(network, recipe.ema) if recipe.ema and process.rank == 0 else None
    averaged = average.network if average else None
    start = restore(state, network, dataset.categories, optimiser, averaged) if state.exists() else 0
    if resume and not state.exists():
        process.say(f"there is no {state} to resume from: starting anew")
    epoch = math.ceil(len(dataset) / recipe.batch_size)  # steps
    every = max(epoch, LOG_EVERY) if validate_every is None else validate_every
    for line in (
        *announce.data(datasets, dataset),
        *announce.run(recipe, epoch, device, start),
        *announce.validation(validation, every),
        f"files: {out}",
    ):
        process.say(line)
    if process.world_size > 1:
        step_module = DistributedDataParallel(step_module)
    batches = training_batches(dataset, recipe, process, start, workers)
    if process.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.json").write_text(json.dumps(recipes.to_dict(recipe), indent=1))
        log = Log(out / "log.jsonl", start, recipe.batch_size)
        cut(out / "validation.jsonl", start)
    steps = range(start, recipe.steps)
    # Closed also when the run breaks off, so that what is said then has a line of its own.
    with tqdm(steps, initial=start, total=recipe.steps, unit="step", disable=process.rank != 0) as progress:
        for step in progress:
            values = training_step(step_module, optimiser, next(batches), step, recipe, process)
            if process.rank:
                continue
            if average:
                average.update(step)
            progress.set_postfix(loss=f"{log.add(values):.3f}", refresh=False)
            done, is_last = step + 1, step + 1 == recipe.steps
            if done % LOG_EVERY == 0 or is_last:
                log.write(done, recipe.lr * lr_factor(step, recipe))
            due = is_last or (every > 0 and done % every == 0)
            if done % checkpoint_every == 0 or due:
                store(state, network, dataset.categories, optimiser, done, averaged)
            if due:
                # The other processes wait in their next step: Process.join gives them hours for it.
                if validation:
                    progress.write(validate(averaged or network, validation, out, done, done / epoch))
                draw_curves(out)
                log.restart_clock(done)
    if process.rank:
        return None
    return export_checkpoint(averaged or network, dataset.categories, out, notes or {})


def export_checkpoint(
    network: MaskRCNN, categories: tuple[Category, ...], out: Path, notes: dict[str, str]
) -> Path:
    """Write the network as a native checkpoint, half precision (weights of a served model)."""
    path = out / "model.safetensors"
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    save(path, Checkpoint(network.config, categories, tensors, notes), torch.float16)
    return path


def training_step(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    recipe: Recipe,
    process: Process,
) -> dict[str, float]:
    """Forward, backward and update; the losses. Raises TrainingError if they are not finite."""
    device = process.device()
    step_module: nn.Module = module.module if isinstance(module, DistributedDataParallel) else module
    network = cast(TrainingStep, step_module).network
    images, sizes = network_input(batch.images, network.config.preprocessing)
    targets = [target.to(device) for target in batch.targets]
    seed = (recipe.seed * 1_000_003 + step) * process.world_size + process.rank
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * lr_factor(step, recipe)
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    found: Losses = module(images, sizes.to(device), targets, generator)
    total = torch.stack(list(found.values())).sum()
    if not torch.isfinite(total):
        parts = ", ".join(f"{name} {value.item():.3g}" for name, value in found.items())
        raise TrainingError(f"the loss is not finite at step {step} ({parts}): try a lower learning rate")
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
    optimiser.step()
    return {name: value.item() for name, value in found.items()}


def training_batches(
    dataset: TrainDataset, recipe: Recipe, process: Process, start: int, workers: int
) -> Iterator[Batch]:
    """This process's batches from a step on. Raises TrainingError, and DataError when one is read."""
    if recipe.batch_size % process.world_size:
        raise TrainingError(
            f"batch size {recipe.batch_size} does not divide by {process.world_size} processes"
        )
    num_masked, num_box_only = dataset.num_masked, len(dataset) - dataset.num_masked
    sampler = MixedBatches(
        num_masked,
        num_box_only,
        recipe.batch_size // process.world_size,
        seed=recipe.seed,
        box_only_every=box_only_period(num_masked, num_box_only, recipe.box_only_every),
        rank=process.rank,
        world_size=process.world_size,
        landscape=dataset.landscape(),
        start=start,
    )
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=workers)
    return _unwrapped(iter(loader))


def _unwrapped(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; an error about data loses the traceback that a worker process puts before it."""
    try:
        yield from batches
    except DataError as error:
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error
