"""What a Mask R-CNN is measured on while it trains, and how: as `python -m model evaluate` does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.config.categories import Category
from model.data.coco import CocoDataset, load_coco
from model.data.coco_categories import as_one_class
from model.data.coco_records import why_nothing
from model.data.fields import DataError
from model.evaluation.coco_ap import average_precision
from model.evaluation.instance import coco_results, listed
from model.evaluation.true_boxes import measure_in_true_boxes
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
    categories: tuple[Category, ...]  # those that the network knows, in the order of its classes
    remarks: tuple[str, ...] = ()  # what cannot be measured
    one_class: bool = False  # all categories of the file are the network's only class
    true_boxes: bool = False  # masks are measured in the annotated boxes, detection is not


def open_validation(
    annotations: Path,
    images: Path,
    classes: tuple[Category, ...],
    dropped: Sequence[Category] = (),
    *,
    one_class: bool = False,
    true_boxes: bool = False,
) -> InstanceValidation:
    """Return annotated images to measure a network of these classes on; ids may differ, names may not.

    The `dropped` categories are listed in the training data, but not used there, so they are not measured. Raises
    DataError that names the categories that only one side has, or what else is wrong.
    """
    dataset = load_coco(annotations, images)
    if one_class:
        dataset = as_one_class(dataset, classes[0].name)
    by_name = {category.name: category for category in dataset.categories}
    lacking = [category for category in classes if category.name not in by_name]
    others = [by_name[name] for name in by_name.keys() - {category.name for category in classes}]
    used = [category for category in others if category not in dataset.unused]
    untrained = [category for category in used if category.name in {c.name for c in dropped}]
    foreign = [category for category in used if category not in untrained]
    if lacking or foreign:
        sides = {"lacks": lacking, "has besides": sorted(foreign, key=lambda category: category.id)}
        parts = [f"it {verb} {listed(found)}" for verb, found in sides.items() if found]
        raise DataError(f"{annotations}: other categories than the training data: {', '.join(parts)}")
    if not any(record.annotations for record in dataset.records):
        why = why_nothing(dataset.records)
        raise DataError(f"{annotations}: nothing to measure on, not one instance in it: {why}")
    remark = f"not measured, because the training data have none: {listed(untrained)}"
    own = tuple(by_name[category.name] for category in classes)
    remarks = (remark,) if untrained else ()
    return InstanceValidation(annotations, dataset, own, remarks, one_class, true_boxes)


def measure_instances(network: MaskRCNN, validation: InstanceValidation) -> Measurement:
    """Measure a network at its shipped settings: what it detects, or its masks in the annotated boxes."""
    predictor = predictor_of(network, validation.categories)
    file, dataset, one_class = validation.annotations, validation.dataset, validation.one_class
    if validation.true_boxes:
        classes = {category: i for i, category in enumerate(validation.categories)}
        options = InstanceOptions()
        metrics, results = measure_in_true_boxes(
            predictor, file, dataset, classes, options, one_class=one_class
        )
    else:
        options = InstanceOptions(score=0.0)  # the network has a threshold of its own
        results = coco_results(predictor, dataset, options)
        ids = [category.id for category in validation.categories]
        metrics = average_precision(file, results, ids, one_class=one_class)
    return Measurement(metrics, compare_instances(dataset, results))
