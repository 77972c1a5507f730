"""The accuracy of instance masks: a network run on COCO-format data, or results that are there already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.config.instance import MaskRCNNConfig
from model.data.coco import CocoDataset, load_coco, read_image
from model.data.coco_categories import as_one_class
from model.data.coco_records import why_nothing
from model.data.fields import DataError
from model.errors import UserError
from model.evaluation.coco_ap import average_precision
from model.evaluation.coco_results import CocoResults, coco_result, read_results
from model.evaluation.report import Report, shown
from model.evaluation.settings import EvaluationSettings
from model.evaluation.true_boxes import measure_in_true_boxes
from model.predict.instance import (
    InstanceOptions,
    InstancePredictor,
    parse_resolution,
)
from model.predict.predictor import parse_points
from model.progress import progress

_SHOWN = 5  # names listed in one message


def evaluate_instances(
    checkpoint: Checkpoint[MaskRCNNConfig], data: Path, images: Path, settings: EvaluationSettings
) -> Report:
    """Measure a checkpoint at its own score threshold on a COCO file and the folder of its images.

    Only the classes that both sides have are measured. Raises DataError if there is none, or the data are unusable.
    """
    options = InstanceOptions(
        resolution=parse_resolution(settings.resolution), points=parse_points(settings.points)
    )
    dataset = load_coco(data, images)
    for remark in dataset.remarks:
        settings.notify(f"warning: {remark}")
    check_measurable(data, dataset)
    if settings.true_boxes:
        known = classes_of_boxes(checkpoint, dataset)
        predictor = eager_predictor(checkpoint)
        metrics, results = measure_in_true_boxes(predictor, data, dataset, known, options, settings.limit)
        return Report(metrics, table(metrics), {"results": results})
    if settings.one_class:
        dataset = as_one_class(dataset, _only_class(checkpoint))
    classes = match_classes(checkpoint, dataset.categories, dataset.unused)
    if set(dataset.categories) - dataset.unused - set(classes.values()):
        names = listed(tuple(classes.values()))
        settings.notify(f"measured are only the categories that the checkpoint knows: {names}")
    found = predict(checkpoint, dataset, classes, options, settings.limit)
    return report(data, found, one_class=settings.one_class)


def classes_of_boxes(checkpoint: Checkpoint[MaskRCNNConfig], dataset: CocoDataset) -> dict[Category, int]:
    """Return the checkpoint's class for each category of boxes that it is given: its only one, or that of the name."""
    if len(checkpoint.categories) == 1:
        return dict.fromkeys(dataset.categories, 0)
    found = match_classes(checkpoint, dataset.categories, dataset.unused)
    return {category: i for i, category in found.items()}


def _only_class(checkpoint: Checkpoint[MaskRCNNConfig]) -> str:
    if len(checkpoint.categories) > 1:
        raise UserError(
            f"--one-class is for a checkpoint of one class, this one has {len(checkpoint.categories)}"
        )
    return checkpoint.categories[0].name


def evaluate_results(results: Path, data: Path) -> Report:
    """Measure a file of COCO results on a COCO file. Raises DataError if either cannot be used."""
    return report(data, read_results(results))


def report(data: Path, results: CocoResults, *, one_class: bool = False) -> Report:
    """Return the report of results on a COCO file, whose categories may count as one."""
    metrics = average_precision(
        data, results.entries, results.category_ids, results.image_ids, one_class=one_class
    )
    return Report(metrics, table(metrics), results.details())


def table(metrics: Mapping[str, float]) -> str:
    """Return metrics as lines of names and values."""
    width = max(16, *map(len, metrics))
    return "\n".join(f"{name:{width}} {shown(value)}" for name, value in metrics.items())


def check_measurable(data: Path, dataset: CocoDataset) -> None:
    """Raise DataError if something is annotated in a file, but nothing to measure on."""
    if any(record.left_out for record in dataset.records) and not any(r.annotations for r in dataset.records):
        raise DataError(f"{data}: there is nothing to measure, {why_nothing(dataset.records)}")


def match_classes(
    checkpoint: Checkpoint[MaskRCNNConfig],
    categories: Sequence[Category],
    unused: Collection[Category] = (),
) -> dict[int, Category]:
    """Return the data's category for each class index of the checkpoint, by name; classes without one are left out.

    An imported file names no classes; if those assumed for it are not in the data, its classes are the data's, or
    those of them that are not `unused`, which the reference orders by id. Raises DataError if nothing matches.
    """
    own = checkpoint.categories
    named = {category.name: category for category in categories}
    if found := {i: named[c.name] for i, c in enumerate(own) if c.name in named}:
        return found
    if "imported_from" not in checkpoint.notes:
        raise DataError(
            f"the checkpoint's classes ({listed(own)}) are not among the data's ({listed(categories)})"
        )
    for candidates in (categories, [c for c in categories if c not in unused]):
        if len(own) == len(candidates):
            return dict(enumerate(sorted(candidates, key=lambda category: category.id)))
    raise DataError(
        f"the checkpoint names no classes and has {len(own)} of them, the data have {len(categories)}"
    )


def predict(
    checkpoint: Checkpoint[MaskRCNNConfig],
    dataset: CocoDataset,
    classes: Mapping[int, Category],
    options: InstanceOptions,
    limit: int | None = None,
) -> CocoResults:
    """Return what a checkpoint finds of the given classes, at its own threshold, in the first images (None: all)."""
    own = tuple(classes.get(i, category) for i, category in enumerate(checkpoint.categories))
    predictor = replace(eager_predictor(checkpoint), categories=own)
    options = replace(options, score=0.0, classes=frozenset(classes))
    return CocoResults(
        coco_results(predictor, dataset, options, limit=limit),
        image_ids=[record.image_id for record in dataset.records[:limit]],
        category_ids=[category.id for category in classes.values()],
    )


def coco_results(
    predictor: InstancePredictor, dataset: CocoDataset, options: InstanceOptions, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return COCO results on a data set, under a progress bar (that vanishes if it stands below another one)."""
    results = []
    for record in progress(dataset.records[:limit], "predicting", unit="image", leave=None):
        for mask in predictor(read_image(record), options).finish().masks:
            category = predictor.categories[mask.category]
            results.append(coco_result(mask, category, record.image_id, record.width, record.height))
    return results


def listed(categories: Sequence[Category]) -> str:
    """Return the first names, for a message."""
    rest = len(categories) - _SHOWN
    return ", ".join(c.name for c in categories[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
