"""The accuracy of label maps, with what they cost.

A new metric of label maps is one function in model/evaluation/iou.py and one line of CLASS_METRICS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.semantic import SemanticConfig
from model.data.fields import DataError
from model.data.label_maps import LabelMaps, load_label_maps
from model.evaluation.iou import (
    Counts,
    Labels,
    area_overlap,
    boundary_overlap,
    correct_pixels,
    iou,
    mean,
)
from model.evaluation.report import Metrics, Report, shown
from model.evaluation.settings import EvaluationSettings
from model.predict.label_map import (
    LabelMapOptions,
    LabelMapPredictor,
    parse_height,
)
from model.predict.predictor import parse_points
from model.progress import progress

_SHOWN = 5  # names listed in one message


@dataclass(frozen=True)
class ClassMetric:
    """An intersection over union that each class has; its counts [2, K] add up over images."""

    name: str
    mean: str  # the name of its mean over the classes
    count: Callable[[Labels, Labels, int], Counts]  # of truth, prediction, number of classes


CLASS_METRICS = (
    ClassMetric("IoU", "mIoU", area_overlap),
    ClassMetric("boundary IoU", "boundary mIoU", boundary_overlap),
)
HEADLINE = tuple(metric.mean for metric in CLASS_METRICS)  # metrics that one line has room for
ACCURACY = "pixel accuracy"


@dataclass(frozen=True)
class Cost:
    """What an image cost, on average."""

    points: float  # evaluated by the point head
    coarse_seconds: float  # reading not included
    render_seconds: float


def evaluate_label_maps(
    checkpoint: Checkpoint[SemanticConfig], data: Path, images: Path, settings: EvaluationSettings
) -> Report:
    """Measure a checkpoint on the JSON file of label maps' classes and their folder.

    Raises DataError if the data cannot be used or are of other classes.
    """
    options = LabelMapOptions(parse_height(settings.resolution), parse_points(settings.points))
    predictor, dataset = eager_predictor(checkpoint), load_label_maps(data, images)
    check_classes(predictor, dataset)
    metrics, cost = measure(predictor, dataset, options, settings.limit)
    return Report(metrics, table(metrics, cost), {"cost": asdict(cost)})


def check_classes(predictor: LabelMapPredictor, data: LabelMaps) -> None:
    """Raise DataError unless the data have the predictor's classes, by name and in the same order."""
    own, others = [category.name for category in predictor.categories], data.labelling.names
    if own != others:
        sides = [f"{', '.join(names[:_SHOWN])}{', …' * (len(names) > _SHOWN)}" for names in (own, others)]
        raise DataError(f"the network's classes ({sides[0]}) are not the data's ({sides[1]})")


def measure(
    predictor: LabelMapPredictor, data: LabelMaps, options: LabelMapOptions, limit: int | None = None
) -> tuple[dict[str, float], Cost]:
    """Return metrics from 0 to 1 (see model/evaluation/iou.py) under "mIoU", "boundary mIoU", "IoU/sky" and so on.

    Label maps are compared at the images' own size. A class that is neither there nor predicted is NaN. `limit`:
    only the first images.
    """
    classes = data.labelling.classes
    counts = {metric.name: np.zeros((2, len(classes)), np.int64) for metric in CLASS_METRICS}
    correct = np.zeros((2, 1), np.int64)
    points, seconds = 0, np.zeros(2)
    count = len(data.pairs[:limit])
    for index in progress(range(count), "predicting", unit="image", leave=None):
        image, truth = data.read(index)
        marks = [time.perf_counter()]
        prepared = predictor.prepare(image, options)
        coarse = predictor.coarse([prepared])
        marks.append(time.perf_counter())
        prediction = predictor.begin(coarse, 0, prepared, options)
        predictor.render([prediction])
        finished = prediction.finish()
        predicted = finished.labels(*truth.shape)
        marks.append(time.perf_counter())
        seconds += np.diff(marks)
        points += sum(len(level.cells) for level in finished.pyramid.levels)
        for metric in CLASS_METRICS:
            counts[metric.name] += metric.count(truth, predicted, len(classes))
        correct += correct_pixels(truth, predicted)
    found = {name: iou(value) for name, value in counts.items()}
    means = {metric.mean: mean(found[metric.name]) for metric in CLASS_METRICS}
    accuracy = {ACCURACY: float(correct[0, 0] / max(int(correct[1, 0]), 1))}
    each = {
        f"{name}/{category.name}": float(value)
        for name, values in found.items()
        for category, value in zip(classes, values, strict=True)
    }
    return means | accuracy | each, Cost(points / count, seconds[0] / count, seconds[1] / count)


def table(metrics: Metrics, cost: Cost) -> str:
    """Return a line for each class, under the means: a column for each of CLASS_METRICS."""
    prefix = f"{CLASS_METRICS[0].name}/"
    classes = [name.removeprefix(prefix) for name in metrics if name.startswith(prefix)]
    rows = {"mean": [metric.mean for metric in CLASS_METRICS]}
    rows |= {name: [f"{metric.name}/{name}" for metric in CLASS_METRICS] for name in classes}
    widths = [max(8, len(metric.name) + 1) for metric in CLASS_METRICS]
    head = [f"{metric.name:>{width}}" for metric, width in zip(CLASS_METRICS, widths, strict=True)]
    lines = [" ".join([f"{'':16}", *head])]
    for label, names in rows.items():
        cells = [f"{shown(metrics[name]):>{width}}" for name, width in zip(names, widths, strict=True)]
        lines.append(" ".join([f"{label:16}", *cells]))
    seconds = f"{cost.coarse_seconds:.3f} s for the coarse pass, {cost.render_seconds:.3f} s to render"
    return "\n".join(
        [
            *lines,
            f"{ACCURACY} {shown(metrics[ACCURACY])}",
            f"an image: {cost.points:.0f} points, {seconds}",
        ]
    )
