"""What a Mask R-CNN is measured on while it trains, and how: as `python -m model evaluate` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.config.categories import Category
from model.data.coco import CocoDataset, load_coco
from model.data.fields import DataError
from model.evaluation.coco_ap import average_precision
from model.evaluation.instance import coco_results, listed
from model.networks.eager import predictor_of
from model.networks.mask_rcnn import MaskRCNN
from model.predict.instance import InstanceOptions
from model.training.reports.instance_pictures import compare_instances
from model.training.reports.validation import Measurement


@dataclass(frozen=True)
class InstanceValidation:
    """Annotated images to measure a network on."""

    annotations: Path
    dataset: CocoDataset  # the same, loaded
    categories: tuple[Category, ...]  # its categories, in the order of the network's classes


def open_validation(annotations: Path, images: Path, classes: tuple[Category, ...]) -> InstanceValidation:
    """Return annotated images to measure a network of these classes on; ids may differ, names may not.

    Raises DataError that names the categories that only one side has, or what else is wrong.
    """
    dataset = load_coco(annotations, images)
    by_name = {category.name: category for category in dataset.categories}
    lacking = [category for category in classes if category.name not in by_name]
    foreign = [by_name[name] for name in by_name.keys() - {category.name for category in classes}]
    if lacking or foreign:
        sides = {"lacks": lacking, "has besides": sorted(foreign, key=lambda category: category.id)}
        parts = [f"it {verb} {listed(found)}" for verb, found in sides.items() if found]
        raise DataError(f"{annotations}: other categories than the training data: {', '.join(parts)}")
    if not any(record.annotations for record in dataset.records):
        raise DataError(f"{annotations}: nothing to measure on, not one instance in it")
    return InstanceValidation(annotations, dataset, tuple(by_name[category.name] for category in classes))


def measure_instances(network: MaskRCNN, validation: InstanceValidation) -> Measurement:
    """Measure a network at its shipped settings."""
    options = InstanceOptions(score=0.0)  # the network has a threshold of its own
    results = coco_results(predictor_of(network, validation.categories), validation.dataset, options)
    metrics = average_precision(validation.annotations, results)
    return Measurement(metrics, compare_instances(validation.dataset, results))
