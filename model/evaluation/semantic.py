"""The accuracy of a semantic network on label maps, with what it cost."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.semantic import SemanticConfig
from model.data.label_maps import LabelMaps, load_label_maps
from model.evaluation.iou import boundary_overlap, confusion, iou, mean, overlap
from model.predict.label_map import (
    LabelMapOptions,
    LabelMapPredictor,
    label_map,
    parse_height,
    parse_label_map_points,
)

_SHOWN = 5  # names listed in one message


def check_classes(predictor: LabelMapPredictor, data: LabelMaps) -> None:
    """Raises ValueError unless the data have the predictor's classes, by name and in the same order."""
    own = [category.name for category in predictor.categories]
    theirs = [category.name for category in data.labelling.classes]
    if own != theirs:
        sides = [f"{', '.join(names[:_SHOWN])}{', …' * (len(names) > _SHOWN)}" for names in (own, theirs)]
        raise ValueError(f"the network's classes ({sides[0]}) are not the data's ({sides[1]})")


@dataclass(frozen=True)
class Cost:
    """Per image."""

    points: float  # evaluated by the point head
    coarse_seconds: float  # reading not included
    render_seconds: float


def measure(
    predictor: LabelMapPredictor, data: LabelMaps, options: LabelMapOptions, limit: int | None = None
) -> tuple[dict[str, float], Cost]:
    """IoU and boundary IoU (0 to 1, see model/evaluation/iou.py) under "mIoU", "boundary mIoU", "IoU/sky" and so on.

    Label maps are compared at the images' own size.

    A class that is neither there nor predicted is NaN. `limit`: only the first images.
    """
    classes = data.labelling.classes
    area = np.zeros((len(classes), len(classes)), np.int64)
    bands = np.zeros((2, len(classes)), np.int64)
    points, seconds = 0, np.zeros(2)
    count = len(data.pairs[:limit])
    for index in tqdm(range(count), "predicting", unit="image", leave=None):
        image, truth = data.read(index)
        marks = [time.perf_counter()]
        prepared = predictor.prepare(image)
        coarse = predictor.coarse([prepared])
        marks.append(time.perf_counter())
        rendered = predictor.begin(coarse, 0, prepared, options)
        predictor.render([rendered])
        predicted = label_map(rendered, *truth.shape)
        marks.append(time.perf_counter())
        seconds += np.diff(marks)
        points += sum(len(level.cells) for level in rendered.levels)
        area += confusion(truth, predicted, len(classes))
        bands += boundary_overlap(truth, predicted, len(classes))
    found = {"IoU": iou(overlap(area)), "boundary IoU": iou(bands)}
    means = {"mIoU": mean(found["IoU"]), "boundary mIoU": mean(found["boundary IoU"])}
    accuracy = {"pixel accuracy": float(area.trace() / max(area.sum(), 1))}
    each = {f"{kind}/{c.name}": float(v) for kind in found for c, v in zip(classes, found[kind], strict=True)}
    return means | accuracy | each, Cost(points / count, seconds[0] / count, seconds[1] / count)


def evaluate_checkpoint(
    checkpoint: Checkpoint[SemanticConfig],
    data: Path,
    images: Path,
    resolution: str,
    points: str,
    limit: int | None,
    out: Path | None,
) -> str:
    """What `python -m model evaluate` prints of a semantic checkpoint, and writes as JSON to `out`.

    `resolution` and `points` as a request has them. Raises ValueError if the data are of other classes.
    """
    options = LabelMapOptions(parse_height(resolution), parse_label_map_points(points))
    predictor, dataset = eager_predictor(checkpoint), load_label_maps(data, images)
    check_classes(predictor, dataset)
    metrics, cost = measure(predictor, dataset, options, limit)
    if out is not None:
        written = {name: None if math.isnan(value) else value for name, value in metrics.items()}
        out.write_text(json.dumps({"metrics": written, "cost": asdict(cost)}, indent=1), encoding="utf-8")
    return table(metrics, cost)


def table(metrics: Mapping[str, float], cost: Cost) -> str:
    """A line for each class, under the means."""
    classes = [name.removeprefix("IoU/") for name in metrics if name.startswith("IoU/")]
    shares = {"mean": ("mIoU", "boundary mIoU")} | {c: (f"IoU/{c}", f"boundary IoU/{c}") for c in classes}
    lines = [
        f"{label:16} {_text(metrics[area]):>8} {_text(metrics[band]):>13}"
        for label, (area, band) in shares.items()
    ]
    seconds = f"{cost.coarse_seconds:.3f} s for the coarse pass, {cost.render_seconds:.3f} s to render"
    return "\n".join(
        [
            f"{'':16} {'IoU':>8} {'boundary IoU':>13}",
            *lines,
            f"pixel accuracy {_text(metrics['pixel accuracy'])}",
            f"an image: {cost.points:.0f} points, {seconds}",
        ]
    )


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
