"""Training on label maps: the task that the loop runs, its validation, its checkpoint."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from model.checkpoints.checkpoint import Checkpoint, save
from model.config.semantic import SemanticFPNConfig
from model.data.label_map_samples import LabelMapBatch, LabelMapTrainingSet, collate_label_maps
from model.data.label_maps import LabelMaps
from model.data.labelling import VOID
from model.data.samplers import MixedBatches
from model.evaluation.semantic import measure
from model.networks.backbone import Backbone
from model.networks.eager import predictor_of
from model.networks.semantic import SemanticNet
from model.predict.label_map import LabelMapOptions
from model.predict.preprocess import network_input
from model.training import announce, loop
from model.training.distributed import Process
from model.training.label_pictures import compare
from model.training.run_files import TrainingError
from model.training.semantic_losses import semantic_losses
from model.training.semantic_recipe import SemanticRecipe
from model.training.validation import evaluating, recorded


class SemanticStep(nn.Module):
    """Losses of one batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, network: SemanticNet, recipe: SemanticRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        for layer in _unread(network):
            layer.requires_grad_(False)  # DistributedDataParallel would wait for its gradient for ever
        if recipe.point_only:
            if network.point is None:
                raise TrainingError("point_only: a base model alone has no point head to train")
            network.requires_grad_(False)
            network.point.requires_grad_(True)

    def forward(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if self.recipe.point_only:  # statistics of norms and dropout, too, as when it predicts
            self.network.backbone.eval()
            self.network.head.eval()
        return semantic_losses(
            self.network,
            images,
            labels,
            points=self.recipe.points,
            oversample=self.recipe.oversample,
            importance=self.recipe.importance,
            ignore=VOID,
            generator=generator,
            bf16=self.recipe.bf16,
        )


def _unread(network: SemanticNet) -> Iterator[nn.Module]:
    """Layers that no loss depends on: those of P2 in a base model alone that begins at P3."""
    base, backbone = network.config.base, network.backbone
    if network.point is None and isinstance(base, SemanticFPNConfig) and isinstance(backbone, Backbone):
        for level in range(base.first_level - 2):
            yield backbone.fpn.lateral[level]
            yield backbone.fpn.output[level]


def train(
    network: SemanticNet,
    data: LabelMaps,
    recipe: SemanticRecipe,
    out: Path,
    *,
    process: Process | None = None,
    resume: bool = False,
    workers: int = 1,
    checkpoint_every: int = 200,
    validation: LabelMaps | None = None,
    validate_every: int | None = None,
    notes: dict[str, str] | None = None,
) -> Path | None:
    """Run a recipe, as `loop.run` does; returns the checkpoint `out/model.safetensors` (None except on rank 0)."""
    process = process or Process()
    dataset = LabelMapTrainingSet(data, recipe.augmentation, recipe.seed)
    stride = network.config.preprocessing.stride
    if any(side % stride for side in recipe.augmentation.crop):
        raise TrainingError(
            f"augmentation.crop must be multiples of {stride}, got {recipe.augmentation.crop}"
        )
    epoch = math.ceil(len(dataset) / recipe.batch_size)

    def losses(
        wrapped: nn.Module, batch: LabelMapBatch, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        images, _ = network_input(batch.images, network.config.preprocessing)
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        found: dict[str, Tensor] = wrapped(images, batch.labels.to(device), generator)
        return found

    def validate(measured: SemanticNet, step: int, at: float) -> str:
        assert validation is not None
        return measured_line(measured, validation, out, step, at)

    task = loop.Task(
        network,
        data.labelling.classes,
        SemanticStep(network, recipe),
        losses,
        lambda start: batches(dataset, recipe, process, start, workers),
        epoch,
        lambda start, every: [
            *describe(data),
            *announce.run(recipe, epoch, process.device(), start),
            _validation(validation, every),
        ],
        validate if validation else None,
    )
    trained = loop.run(
        task,
        recipe,
        out,
        process,
        resume=resume,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
    )
    if trained is None:
        return None
    path = out / "model.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.state_dict().items()}
    labelling = data.labelling
    checkpoint = Checkpoint(
        network.config, labelling.classes, tensors, notes or {}, labelling.palette
    )
    save(path, checkpoint, torch.float16)
    return path


def batches(
    dataset: LabelMapTrainingSet, recipe: SemanticRecipe, process: Process, start: int, workers: int
) -> Iterator[LabelMapBatch]:
    """This process's batches from a step on. Raises TrainingError, and DataError when one is read."""
    sampler = MixedBatches(
        len(dataset),
        0,
        loop.batch_per_process(recipe, process),
        seed=recipe.seed,
        box_only_every=0,
        rank=process.rank,
        world_size=process.world_size,
        start=start,
    )
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_label_maps, num_workers=workers)
    return loop.unwrapped(iter(loader))


def measured_line(network: SemanticNet, data: LabelMaps, out: Path, step: int, epoch: float) -> str:
    """Measure a network as `python -m model evaluate` does; says so in one line.

    Adds a line to `out/validation.jsonl` (null: not measured) and draws `out/pictures/step_….jpg`. The
    network's modes are as before afterwards; nothing random is drawn.
    """
    with evaluating(network):
        predictor = predictor_of(network, data.labelling.classes, data.labelling.palette)
        metrics, _ = measure(predictor, data, LabelMapOptions())
        picture = compare(predictor, data)
    return recorded(out, step, epoch, metrics, ("mIoU", "boundary mIoU"), picture)


def describe(data: LabelMaps) -> list[str]:
    """How many images there are, and what share of their pixels each class has."""
    counts: Counter[int] = Counter()
    for index in tqdm(range(len(data.pairs)), "counting pixels", leave=False, delay=3):
        counts.update(dict(enumerate(np.bincount(data.read(index)[1].ravel()).tolist())))
    total = max(1, counts.total())
    names = [category.name for category in data.labelling.classes]
    shares = [f"{name} {counts[i] / total:.1%}" for i, name in enumerate(names)]
    absent = [name for i, name in enumerate(names) if not counts[i]]
    return [
        f"data: {len(data.pairs)} images with label maps",
        f"pixels: {', '.join(shares)}; ignored {counts[VOID] / total:.1%}",
        *([f"warning: not one pixel of {', '.join(absent)}: the model cannot learn it"] if absent else []),
    ]


def _validation(measured: LabelMaps | None, every: int) -> str:
    if measured is None:
        return "validation: none, so IoU is not measured; --val-images FOLDER measures it"
    return f"validation: {len(measured.pairs)} images with label maps, {announce.when(every)}"
