"""Training on COCO-format data: the task that the loop runs, on one process or several (torchrun)."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.checkpoints.checkpoint import Checkpoint, save
from model.config.categories import Category
from model.data.coco import CocoDataset
from model.data.instance_samples import InstanceBatch, InstanceTrainingSet, Target, collate_instances
from model.data.samplers import MixedBatches, box_only_period
from model.networks.mask_rcnn import MaskRCNN
from model.predict.preprocess import network_input
from model.training import announce, loop
from model.training.distributed import Process
from model.training.loop import Task
from model.training.losses import Losses, losses
from model.training.recipe import InstanceRecipe
from model.training.run_files import TrainingError
from model.training.validation import Validation, validate


class TrainingStep(nn.Module):
    """Losses of one batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, network: MaskRCNN, recipe: InstanceRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        if recipe.mask_only:
            network.requires_grad_(False)
            network.mask_head.requires_grad_(True)

    def forward(
        self, images: Tensor, sizes: Tensor, targets: Sequence[Target], generator: torch.Generator
    ) -> Losses:
        if self.recipe.mask_only:  # statistics of norms and dropout, too, as when it predicts
            self.network.backbone.eval()
        found = losses(
            self.network,
            images,
            sizes,
            targets,
            self.recipe.sampling,
            generator,
            bf16=self.recipe.bf16,
        )
        weight = self.recipe.mask_weight
        return {name: value * weight if name.startswith("mask_") else value for name, value in found.items()}


def train(
    network: MaskRCNN,
    datasets: Sequence[CocoDataset],
    recipe: InstanceRecipe,
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
    """Run a recipe, as `loop.run` does; returns the checkpoint `out/model.safetensors` (None except on rank 0)."""
    process = process or Process()
    used = [_with_masks(dataset) if recipe.mask_only else dataset for dataset in datasets]
    if recipe.mask_only and not any(dataset.records for dataset in used):
        raise TrainingError("mask_only: not one instance has a mask to train on")
    dataset = InstanceTrainingSet(used, recipe.augmentation, recipe.seed, empty=recipe.empty_images)
    epoch = math.ceil(len(dataset) / recipe.batch_size)  # steps

    def measure(measured: MaskRCNN, step: int, at: float) -> str:
        assert validation is not None
        return validate(measured, validation, out, step, at)

    task = Task(
        network,
        dataset.categories,
        TrainingStep(network, recipe),
        functools.partial(batch_losses, network),
        lambda start: training_batches(dataset, recipe, process, start, workers),
        epoch,
        lambda start, every: [
            *announce.data(datasets, dataset),
            *(["mask_only: the detector stays as it is"] if recipe.mask_only else []),
            *announce.run(recipe, epoch, process.device(), start),
            *announce.validation(validation, every),
        ],
        measure if validation else None,
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
    return None if trained is None else export_checkpoint(trained, dataset.categories, out, notes or {})


def _with_masks(dataset: CocoDataset) -> CocoDataset:
    """The images in which any instance has a mask."""
    return replace(dataset, records=tuple(r for r in dataset.records if r.annotations and r.has_masks))


def batch_losses(
    network: MaskRCNN, wrapped: nn.Module, batch: InstanceBatch, device: torch.device, generator: torch.Generator
) -> dict[str, Tensor]:
    """The losses of a batch by a network's TrainingStep, perhaps wrapped."""
    images, sizes = network_input(batch.images, network.config.preprocessing)
    targets = [target.to(device) for target in batch.targets]
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    found: Losses = wrapped(images, sizes.to(device), targets, generator)
    return found


def export_checkpoint(
    network: MaskRCNN, categories: tuple[Category, ...], out: Path, notes: dict[str, str]
) -> Path:
    """Write the network as a native checkpoint, half precision (weights of a served model)."""
    path = out / "model.safetensors"
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    save(path, Checkpoint(network.config, categories, tensors, notes), torch.float16)
    return path


def training_batches(
    dataset: InstanceTrainingSet, recipe: InstanceRecipe, process: Process, start: int, workers: int
) -> Iterator[InstanceBatch]:
    """This process's batches from a step on. Raises TrainingError, and DataError when one is read."""
    num_masked, num_box_only = dataset.num_masked, len(dataset) - dataset.num_masked
    sampler = MixedBatches(
        num_masked,
        num_box_only,
        loop.batch_per_process(recipe, process),
        seed=recipe.seed,
        box_only_every=box_only_period(num_masked, num_box_only, recipe.box_only_every),
        rank=process.rank,
        world_size=process.world_size,
        landscape=dataset.landscape(),
        start=start,
    )
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_instances, num_workers=workers)
    return loop.unwrapped(iter(loader))
