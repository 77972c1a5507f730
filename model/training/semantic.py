"""The task of label maps: training a semantic segmentation network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.config.semantic import SemanticConfig, SemanticFPNConfig
from model.data.label_map_samples import LabelMapBatch, LabelMapTrainingSet, collate_label_maps
from model.data.label_maps import LabelMaps, load_label_maps, together
from model.data.samplers import MixedBatches
from model.errors import UserError
from model.evaluation.label_maps import HEADLINE, measure
from model.masks.palette import VOID
from model.networks.backbone import Backbone
from model.networks.eager import predictor_of
from model.networks.semantic import SemanticNet
from model.predict.label_map import LabelMapOptions
from model.predict.preprocess import network_input
from model.training.batches import batch_per_process, with_plain_errors
from model.training.distributed import Process
from model.training.errors import TrainingError
from model.training.losses.semantic import semantic_losses
from model.training.recipe import SemanticRecipe
from model.training.reports import announce
from model.training.reports.data import describe_label_maps
from model.training.reports.label_map_pictures import compare_label_maps
from model.training.reports.validation import Measurement
from model.training.task import TrainingFiles


class SemanticTrainingStep(nn.Module):
    """The losses of one batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, network: SemanticNet, recipe: SemanticRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        for layer in _unread_layers(network):
            layer.requires_grad_(False)  # DistributedDataParallel would wait for its gradient for ever
        if recipe.point_only:
            if network.point is None:
                raise TrainingError("point_only: a base model alone has no point head to train")
            network.requires_grad_(False)
            network.point.requires_grad_(True)

    def forward(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        recipe = self.recipe
        if recipe.point_only:
            # The base model keeps its norms' statistics and drops nothing, as when it predicts.
            self.network.backbone.eval()
            self.network.head.eval()
        return semantic_losses(
            self.network,
            images,
            labels,
            points=recipe.points,
            oversample=recipe.oversample,
            importance=recipe.importance,
            ignore=VOID,
            generator=generator,
            bf16=recipe.bf16,
        )


def _unread_layers(network: SemanticNet) -> Iterator[nn.Module]:
    """Yield the layers that no loss depends on: those of P2 in a base model alone that begins at P3."""
    base, backbone = network.config.base, network.backbone
    if network.point is None and isinstance(base, SemanticFPNConfig) and isinstance(backbone, Backbone):
        for level in range(base.first_level - 2):
            yield backbone.fpn.lateral[level]
            yield backbone.fpn.output[level]


class SemanticTraining:
    """A semantic segmentation network with its data and recipe (see `TrainingTask`)."""

    headline = HEADLINE

    def __init__(
        self,
        network: SemanticNet,
        data: LabelMaps,
        recipe: SemanticRecipe,
        validation: LabelMaps | None = None,
        validation_file: Path | None = None,
    ) -> None:
        """Take the classes from the data; `validation_file` has those of the validation data. Raises TrainingError."""
        stride = network.config.preprocessing.stride
        if any(side % stride for side in recipe.augmentation.crop):
            raise TrainingError(
                f"augmentation.crop must be multiples of {stride}, got {recipe.augmentation.crop}"
            )
        self.network, self.data, self.recipe = network, data, recipe
        self.validation, self.validation_file = validation, validation_file
        self.categories, self.palette = data.labelling.classes, data.labelling.palette
        self.samples = LabelMapTrainingSet(data, recipe.augmentation, recipe.seed)
        self.step = SemanticTrainingStep(network, recipe)
        self.epoch = math.ceil(len(self.samples) / recipe.batch_size)

    def batches(self, process: Process, start: int, workers: int) -> Iterator[LabelMapBatch]:
        """Return this process's batches from a step on. Raises TrainingError, and DataError when one is read."""
        sampler = MixedBatches(
            len(self.samples),
            0,
            batch_per_process(self.recipe, process),
            seed=self.recipe.seed,
            box_only_every=0,
            rank=process.rank,
            world_size=process.world_size,
            start=start,
        )
        loader = DataLoader(
            self.samples, batch_sampler=sampler, collate_fn=collate_label_maps, num_workers=workers
        )
        return with_plain_errors(iter(loader))

    def losses(
        self, step: nn.Module, batch: LabelMapBatch, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the losses of a batch by `self.step`, which may be wrapped."""
        images, _ = network_input(batch.images, self.network.config.preprocessing)
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        found: dict[str, Tensor] = step(images, batch.labels.to(device), generator)
        return found

    def describe_data(self) -> list[str]:
        """Return what is said of the training data; every label map is read to count its pixels."""
        return describe_label_maps(self.data)

    def describe_validation(self, every: int) -> list[str]:
        """Return what is said of the validation data."""
        if self.validation is None:
            return ["validation: none, so IoU is not measured; --val-images FOLDER measures it"]
        count = len(self.validation.pairs)
        return [f"validation: {count} images with label maps, {announce.when(every)}"]

    def measure(self, network: SemanticNet) -> Measurement:
        """Measure a network on the validation data, as `python -m model evaluate` does."""
        assert self.validation is not None
        labelling = self.validation.labelling
        predictor = predictor_of(network, labelling.classes, labelling.palette)
        metrics, _ = measure(predictor, self.validation, LabelMapOptions())
        return Measurement(metrics, compare_label_maps(predictor, self.validation))


def open_semantic_task(
    config: SemanticConfig, recipe: SemanticRecipe, files: TrainingFiles
) -> SemanticTraining:
    """Return the task of label maps; validation has the same classes unless it has a file of its own.

    Raises UserError, DataError.
    """
    if files.one_class is not None:
        raise UserError("--one-class is for models of instances; this preset is of label maps")
    data = together([load_label_maps(file, folder) for file, folder in files.sources])
    if files.val_data and not files.val_images:
        raise UserError("--val-data needs --val-images")
    val_data = files.val_data or (files.sources[0][0] if files.val_images else None)
    validation = None
    if val_data and files.val_images:
        validation = together([load_label_maps(val_data, files.val_images)], like=data.labelling)
    network = SemanticNet(dataclasses.replace(config, num_classes=len(data.labelling.classes)))
    return SemanticTraining(network, data, recipe, validation, val_data)
