"""The accuracy of the heads' masks: average precision by output side, and overlaps inside the true boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from bench.paper.heads.detector import Detector, coarse_pass, given, masks, masks_by_output
from bench.paper.heads.overlap import Floats, mean, overlaps
from bench.paper.heads.variants import BIASED, COARSE, CONV, Head
from model.config.categories import Category
from model.data.augment import View
from model.data.coco import CocoDataset, Record
from model.evaluation import coco_ap
from model.evaluation.coco_results import coco_result
from model.predict.instance import InstanceOptions, Resolution

OUTPUTS: tuple[Resolution, ...] = (28, 56, 112, 224, "native")
METRICS = ("AP", "AP50", "AP75", "APl")
LARGE = 96**2  # pixels, COCO's bound
Metrics = dict[str, float]


def average_precision(
    detector: Detector,
    heads: Mapping[str, Head],
    data: Path,
    dataset: CocoDataset,
    classes: Mapping[int, Category],
    limit: int | None = None,
) -> dict[str, dict[str, Metrics]]:
    """Return "mask/AP", "boundary/APl" and so on by head and output ("28" … "native"), on the same detections."""
    score = detector.checkpoint.config.box.score_threshold
    options = {
        str(o): InstanceOptions(resolution=o, score=score, classes=frozenset(classes)) for o in OUTPUTS
    }
    found: dict[tuple[str, str], list[dict[str, Any]]] = {(h, o): [] for h in heads for o in options}
    for record, seen in detector.each(dataset, limit):
        detections = detector.detect(seen)
        for name, head in heads.items():
            coarse = coarse_pass(head, seen, detections)
            drawn = masks_by_output(detector.predictor, head, seen, coarse, options)
            for output, prediction in drawn.items():
                for mask in prediction.finish().masks:
                    category = classes[mask.category]
                    entry = coco_result(mask, category, record.image_id, record.width, record.height)
                    found[name, output].append(entry)
    images = [record.image_id for record in dataset.records[:limit]]
    categories = [category.id for category in classes.values()]
    return {
        name: {
            output: _masks_alone(coco_ap.average_precision(data, found[name, output], categories, images))
            for output in options
        }
        for name in heads
    }


def _masks_alone(metrics: Metrics) -> Metrics:
    """Leave out the box metrics, which are the same for every head."""
    return {
        f"{kind}/{metric}": metrics[f"{kind}/{metric}"] for kind in ("mask", "boundary") for metric in METRICS
    }


def in_true_boxes(
    detector: Detector,
    heads: Mapping[str, Head],
    dataset: CocoDataset,
    classes: Mapping[int, Category],
    limit: int | None = None,
) -> tuple[dict[str, Floats], Floats]:
    """Compare masks at native resolution inside the true boxes, so that detection plays no part.

    Returns mask IoU and boundary IoU [N, 2] by head, of every instance that has a mask, and their areas [N] in pixels.
    """
    indices = {category.id: index for index, category in classes.items()}
    options = InstanceOptions(score=0.0, max_instances=10**6)
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in heads}
    areas: list[float] = []
    for record, seen in detector.each(dataset, limit):
        known = [
            (a.box, indices[dataset.categories[a.category].id], truth)
            for a, truth in zip(record.annotations, _truth(record), strict=True)
            if truth is not None and dataset.categories[a.category].id in indices
        ]
        if not known:
            continue
        boxes, own, truths = zip(*known, strict=True)
        areas += [float(rle_codec.area(truth)) for truth in truths]
        found = given(seen, boxes, own)
        for name, head in heads.items():
            drawn = masks(detector.predictor, head, seen, coarse_pass(head, seen, found), options)
            for mask, truth in zip(drawn.finish().masks, truths, strict=True):
                category = classes[mask.category]
                entry = coco_result(mask, category, record.image_id, record.width, record.height)
                values[name].append(overlaps(entry["segmentation"], truth))
    return {n: np.array(v, dtype=np.float64).reshape(-1, 2) for n, v in values.items()}, np.array(areas)


def _truth(record: Record) -> list[dict[str, Any] | None]:
    """Return the record's masks as compressed RLEs; None where only the box is known."""
    size = record.height, record.width
    view = View((0, 0), (record.width, record.height), size)
    return [
        None if a.shape is None else rle_codec.encode(np.asfortranarray(view.mask(a.shape)))
        for a in record.annotations
    ]


def summary(values: Mapping[str, Floats], areas: Floats) -> dict[str, Any]:
    """Return the means of every head, and of the paired differences of PointRend (biased) to the baselines.

    The result is ready for JSON: {"heads" | "differences": {head: {"all" | "large": {"mask" | "boundary": Mean}}}}.
    """
    chosen = {"all": np.ones(len(areas), dtype=bool), "large": areas > LARGE}
    against = {name: values[BIASED] - values[name] for name in (CONV, COARSE)}

    def means(rows: Floats) -> dict[str, Any]:
        return {
            which: {kind: asdict(mean(rows[keep, i])) for i, kind in enumerate(("mask", "boundary"))}
            for which, keep in chosen.items()
        }

    return {
        "heads": {name: means(rows) for name, rows in values.items()},
        "differences": {name: means(rows) for name, rows in against.items()},
    }
