"""What the heads' masks are worth: average precision by output side, and overlaps inside the true boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from bench.paper.detector import Detector, coarse_pass, given, masks, masks_by_output
from bench.paper.heads import BIASED, COARSE, CONV, Head
from bench.paper.overlap import Floats, mean, overlaps
from model.config.categories import Category
from model.data.augment import View
from model.data.coco import CocoDataset, Record
from model.evaluation import coco_ap as evaluation
from model.predict.instance import InstanceOptions, Resolution, coco_result

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
    """By head and output ("28" … "native"): "mask/AP", "boundary/APl" and so on, of the same detections."""
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
            for output, regions in drawn.items():
                for region in regions:
                    category = classes[region.category]
                    entry = coco_result(region, category, record.image_id, record.width, record.height)
                    found[name, output].append(entry)
    images = [record.image_id for record in dataset.records[:limit]]
    categories = [category.id for category in classes.values()]
    return {
        name: {
            output: _masks_alone(evaluation.evaluate(data, found[name, output], categories, images))
            for output in options
        }
        for name in heads
    }


def _masks_alone(metrics: Metrics) -> Metrics:
    """The box metrics are the same for every head."""
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
    """Masks at native resolution inside the true boxes, so that detection plays no part.

    By head [N, 2]: mask IoU and boundary IoU of every instance that has a mask; and [N] their areas in pixels.
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
            regions = masks(detector.predictor, head, seen, coarse_pass(head, seen, found), options)
            for region, truth in zip(regions, truths, strict=True):
                entry = coco_result(
                    region, classes[region.category], record.image_id, record.width, record.height
                )
                values[name].append(overlaps(entry["segmentation"], truth))
    return {n: np.array(v, dtype=np.float64).reshape(-1, 2) for n, v in values.items()}, np.array(areas)


def _truth(record: Record) -> list[dict[str, Any] | None]:
    """The record's masks as compressed RLEs; None where only the box is known."""
    size = record.height, record.width
    view = View((0, 0), (record.width, record.height), size)
    return [
        None if a.shape is None else rle_codec.encode(np.asfortranarray(view.mask(a.shape)))
        for a in record.annotations
    ]


def summary(values: Mapping[str, Floats], areas: Floats) -> dict[str, Any]:
    """Means of every head, and of the paired differences of PointRend (biased) to the baselines.

    JSON-ready: {"heads" | "differences": {head: {"all" | "large": {"mask" | "boundary": Mean}}}}
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
