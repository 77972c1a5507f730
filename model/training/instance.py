"""The task of instance masks: training a Mask R-CNN on COCO-format data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.config.instance import MaskRCNNConfig
from model.data.coco import CocoDataset, load_coco
from model.data.coco_categories import as_one_class, without_unused
from model.data.instance_samples import InstanceBatch, InstanceTrainingSet, Target, collate_instances
from model.data.samplers import MixedBatches, box_only_period
from model.errors import UserError
from model.evaluation.coco_ap import HEADLINE
from model.evaluation.true_boxes import HEADLINE as TRUE_BOXES_HEADLINE
from model.masks.palette import Colour
from model.networks.mask_heads import ConvMaskHead
from model.networks.mask_rcnn import MaskRCNN
from model.predict.preprocess import network_input
from model.training.batches import batch_per_process, with_plain_errors
from model.training.distributed import Process
from model.training.errors import TrainingError
from model.training.instance_validation import InstanceValidation, measure_instances, open_validation
from model.training.losses.detection import Losses
from model.training.losses.instance import instance_losses, true_box_losses
from model.training.recipe import InstanceRecipe, Trained
from model.training.reports import announce
from model.training.reports.data import describe_instances
from model.training.reports.validation import Measurement
from model.training.task import TrainingFiles

_REMARKS: Mapping[Trained, tuple[str, ...]] = {
    "all": (),
    "masks": (
        "trains=masks: masks train in the annotated boxes; the RPN and the box head keep their weights",
    ),
    "mask_head": ("trains=mask_head: only the mask head trains",),
    "detector": ("trains=detector: only the detector trains; masks in given boxes stay the same",),
}


class InstanceTrainingStep(nn.Module):
    """The losses of one batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, network: MaskRCNN, recipe: InstanceRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.frozen = _frozen(network, recipe.trains)
        for part in self.frozen:
            part.requires_grad_(False)

    def forward(
        self, images: Tensor, sizes: Tensor, targets: Sequence[Target], generator: torch.Generator
    ) -> Losses:
        recipe = self.recipe
        for part in self.frozen:
            part.eval()  # It keeps its norms' statistics and drops nothing, as when it predicts.
        batch = self.network, images, sizes, targets, recipe.sampling, generator
        if recipe.trains == "masks":
            found = true_box_losses(*batch, bf16=recipe.bf16)
        else:
            found = instance_losses(*batch, bf16=recipe.bf16, masks=recipe.trains != "detector")
        weight = recipe.mask_weight
        return {name: value * weight if name.startswith("mask_") else value for name, value in found.items()}


class InstanceTraining:
    """A Mask R-CNN with its data and recipe (see `TrainingTask`)."""

    palette: tuple[Colour, ...] = ()

    def __init__(
        self,
        network: MaskRCNN,
        datasets: Sequence[CocoDataset],
        recipe: InstanceRecipe,
        validation: InstanceValidation | None = None,
    ) -> None:
        """Take the classes from the data sets. Raises TrainingError, and DataError if nothing can be trained on."""
        masks_alone = recipe.trains in ("masks", "mask_head")
        used = [_with_masks(dataset) if masks_alone else dataset for dataset in datasets]
        if masks_alone and not any(dataset.records for dataset in used):
            raise TrainingError(f"trains={recipe.trains}: not one instance has a mask to train on")
        if recipe.sampling.dice_weight and isinstance(network.mask_head, ConvMaskHead):
            raise TrainingError("sampling.dice_weight: a 4×conv head has no Dice loss; leave it at 0")
        self.network, self.recipe, self.validation = network, recipe, validation
        self.datasets = datasets
        self.samples = InstanceTrainingSet(used, recipe.augmentation, recipe.seed, empty=recipe.empty_images)
        self.categories = self.samples.categories
        self.step = InstanceTrainingStep(network, recipe)
        self.headline = TRUE_BOXES_HEADLINE if recipe.trains == "masks" else HEADLINE
        self.epoch = math.ceil(len(self.samples) / recipe.batch_size)

    @property
    def validation_file(self) -> Path | None:
        """The annotations that the network is measured on."""
        return None if self.validation is None else self.validation.annotations

    def batches(self, process: Process, start: int, workers: int) -> Iterator[InstanceBatch]:
        """Return this process's batches from a step on. Raises TrainingError, and DataError when one is read."""
        samples, recipe = self.samples, self.recipe
        num_masked, num_box_only = samples.num_masked, len(samples) - samples.num_masked
        sampler = MixedBatches(
            num_masked,
            num_box_only,
            batch_per_process(recipe, process),
            seed=recipe.seed,
            box_only_every=box_only_period(num_masked, num_box_only, recipe.box_only_every),
            rank=process.rank,
            world_size=process.world_size,
            landscape=samples.landscape(),
            start=start,
        )
        loader = DataLoader(samples, batch_sampler=sampler, collate_fn=collate_instances, num_workers=workers)
        return with_plain_errors(iter(loader))

    def losses(
        self, step: nn.Module, batch: InstanceBatch, device: torch.device, generator: torch.Generator
    ) -> Losses:
        """Return the losses of a batch by `self.step`, which may be wrapped."""
        images, sizes = network_input(batch.images, self.network.config.preprocessing)
        targets = [target.to(device) for target in batch.targets]
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        found: Losses = step(images, sizes.to(device), targets, generator)
        return found

    def describe_data(self) -> list[str]:
        """Return what is said of the training data."""
        lines = describe_instances(self.datasets, self.samples)
        return [*lines, *_REMARKS[self.recipe.trains]]

    def describe_validation(self, every: int) -> list[str]:
        """Return what is said of the validation data."""
        if self.validation is None:
            return ["validation: none, so AP is not measured; --val-data FILE --val-images FOLDER measure it"]
        dataset = self.validation.dataset
        when = announce.when(every)
        return [
            f"validation: {len(dataset.records)} images of {self.validation.annotations}, {when}",
            *(f"warning: {remark}" for remark in (*dataset.remarks, *self.validation.remarks)),
        ]

    def measure(self, network: MaskRCNN) -> Measurement:
        """Measure a network on the validation data."""
        assert self.validation is not None
        return measure_instances(network, self.validation)


def open_instance_task(
    config: MaskRCNNConfig, recipe: InstanceRecipe, files: TrainingFiles
) -> InstanceTraining:
    """Return the task of COCO-format files; the classes are those of their categories that any annotation uses.

    Raises UserError, DataError.
    """
    if (files.val_data is None) != (files.val_images is None):
        raise UserError("give --val-data and --val-images, or neither")
    datasets, dropped = without_unused([_load(file, folder, files) for file, folder in files.sources])
    classes = datasets[0].categories
    validation = None
    if files.val_data and files.val_images:
        validation = open_validation(
            files.val_data,
            files.val_images,
            classes,
            dropped,
            one_class=files.one_class is not None,
            true_boxes=recipe.trains == "masks",
        )
    network = MaskRCNN(dataclasses.replace(config, num_classes=len(classes)))
    return InstanceTraining(network, datasets, recipe, validation)


def _load(file: Path, folder: Path, files: TrainingFiles) -> CocoDataset:
    dataset = load_coco(file, folder)
    return dataset if files.one_class is None else as_one_class(dataset, files.one_class)


def _frozen(network: MaskRCNN, trains: Trained) -> Sequence[nn.Module]:
    """Return the parts of a network that do not train, beside what its trunk's configuration freezes."""
    trunk, fpn, levels = network.backbone.trunk, network.backbone.fpn, network.mask_head.levels
    parts: dict[Trained, list[nn.Module]] = {
        "all": [],
        "masks": [*fpn.output[levels:], network.rpn, network.box_head],
        "mask_head": [network.backbone, network.rpn, network.box_head],
        "detector": [trunk, fpn.lateral, *fpn.output[:levels], network.mask_head],
    }
    return parts[trains]


def _with_masks(dataset: CocoDataset) -> CocoDataset:
    """Return the images in which any instance has a mask."""
    kept = tuple(r for r in dataset.records if r.annotations and r.has_masks)
    return dataclasses.replace(dataset, records=kept)
