"""Calibration of box scores: of the boxes with a score of 0.7, seven in ten shall be right.

A detector trained on few images is overconfident. Platt scaling fits sigmoid(a · logit(score) + b) to
which boxes were right on held-out data; a and b become part of the classification layer, so nothing that
runs a network needs to know. The order of boxes stays. A model with `mask_score` still multiplies these scores
by the expected precision of its masks.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.instance import MaskRCNNConfig
from model.data.coco import CocoDataset, load_coco, read_image
from model.data.fields import DataError
from model.evaluation.coco_truth import read_truth
from model.evaluation.instance import check_measurable, match_classes
from model.networks.boxes import covered
from model.predict.instance import InstanceOptions
from model.progress import progress

IOU = 0.5  # of a right detection with its true box, COCO's loosest bar
_START = np.array([1.0, 0.0])  # scores as they are
_RIDGE = 1e-2  # L2 penalty, which keeps a fit to few detections near _START
_EDGES = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.01)  # of the groups of scores that are shown
_EPSILON = 1e-6  # scores nearer to 0 or 1 count as this near


@dataclass(frozen=True)
class Platt:
    """The scaling sigmoid(scale · logit + shift)."""

    scale: float
    shift: float

    def __call__(self, score: float) -> float:
        inside = min(max(score, _EPSILON), 1 - _EPSILON)
        return 1 / (1 + math.exp(-(self.scale * math.log(inside / (1 - inside)) + self.shift)))


def detections(checkpoint: Checkpoint[MaskRCNNConfig], dataset: CocoDataset) -> list[dict[str, Any]]:
    """Return COCO results without masks, whose scores are those of the boxes alone, under a progress bar.

    Raises DataError if checkpoint and data have no class in common.
    """
    classes = match_classes(checkpoint, dataset.categories, dataset.unused)
    predictor = eager_predictor(replace(checkpoint, config=replace(checkpoint.config, mask_score=False)))
    limit = checkpoint.config.box.max_detections
    everything = InstanceOptions(score=0.0, max_instances=limit, classes=frozenset(classes))
    results = []
    for record in progress(dataset.records, "detecting", unit="image"):
        prepared = predictor.prepare(read_image(record), everything)
        for region in predictor.begin(predictor.coarse([prepared]), 0, prepared, everything).regions:
            x0, y0, x1, y1 = region.box.tolist()
            results.append(
                {
                    "image_id": record.image_id,
                    "category_id": classes[region.category].id,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": region.score,
                }
            )
    return results


def match_detections(
    truth: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the scores [N] of a COCO results list, and whether each result is right [N]; `truth` are annotations.

    In the order of scores a detection takes the true box that it overlaps most, if by at least IOU and not taken yet.
    Those without one that lie on a crowd (by at least IOU of their own area, as COCO has it) are left out.
    """
    scores, hits = [], []
    annotated, detected = _grouped(truth), _grouped(results)
    for key in sorted(detected):
        true = _corners([a for a in annotated[key] if not a["iscrowd"]])
        crowds = _corners([a for a in annotated[key] if a["iscrowd"]])
        found = sorted(detected[key], key=lambda r: -r["score"])
        boxes = _corners(found)
        overlaps, on_crowd = box_iou(boxes, true), covered(boxes, crowds)
        for i, result in enumerate(found):
            best = int(overlaps[i].argmax()) if len(true) else 0
            hit = bool(len(true)) and float(overlaps[i, best]) >= IOU
            if hit:
                overlaps[:, best] = 0  # taken
            elif float(on_crowd[i]) >= IOU:
                continue
            scores.append(result["score"])
            hits.append(hit)
    return np.array(scores, float), np.array(hits, bool)


def _grouped(entries: Sequence[Mapping[str, Any]]) -> Mapping[tuple[int, int], list[Mapping[str, Any]]]:
    """Return the entries by image and category."""
    groups: defaultdict[tuple[int, int], list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        groups[entry["image_id"], entry["category_id"]].append(entry)
    return groups


def fit(scores: NDArray[Any], hits: NDArray[Any]) -> Platt:
    """Return the most likely scaling, by Newton's method. Raises DataError if no scaling can be fitted."""
    if hits.all() or not hits.any():
        raise DataError(f"{hits.sum()} of {len(hits)} detections are right: there is nothing to calibrate by")
    clipped = scores.clip(_EPSILON, 1 - _EPSILON)
    inputs = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(scores))], axis=1)
    weights = _START
    for _ in range(100):
        p = 1 / (1 + np.exp(-(inputs @ weights).clip(-30, 30)))
        curvature = inputs.T @ (inputs * (p * (1 - p))[:, None]) + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, inputs.T @ (p - hits) + _RIDGE * (weights - _START))
        weights = weights - step / max(1.0, float(np.abs(step).max()))  # a full step may overshoot
        if np.abs(step).max() < 1e-9:
            break
    if weights[0] <= 0:
        raise DataError("the more sure the model is, the less it is right: such scores cannot be calibrated")
    return Platt(float(weights[0]), float(weights[1]))


def bake(checkpoint: Checkpoint[MaskRCNNConfig], platt: Platt) -> Checkpoint[MaskRCNNConfig]:
    """Return the checkpoint with calibrated scores, its threshold moved along, so that it finds the same boxes.

    Exact for one class. With several, a class's logit against the background is scaled and shifted,
    which is the same as long as no two classes compete for a box.
    """
    tensors = dict(checkpoint.tensors)
    for name, shift in (("box_head.cls_score.weight", 0.0), ("box_head.cls_score.bias", platt.shift)):
        values = tensors[name].float()
        against = platt.scale * (values - values[-1]) + shift
        against[-1] = 0
        tensors[name] = against
    box = checkpoint.config.box
    threshold = math.floor(1e4 * platt(box.score_threshold)) / 1e4  # down: no box may be lost
    notes = checkpoint.notes | {"calibration": f"scale {platt.scale:.4f}, shift {platt.shift:.4f}"}
    config = replace(checkpoint.config, box=replace(box, score_threshold=threshold))
    return replace(checkpoint, config=config, tensors=tensors, notes=notes)


def reliability(
    scores: NDArray[Any], hits: NDArray[Any], edges: Sequence[float]
) -> list[tuple[float, float, int, float]]:
    """Return rows (from, to, detections, share that is right) between the edges."""
    rows = []
    for low, high in itertools.pairwise(edges):
        chosen = (scores >= low) & (scores < high)
        rows.append((low, high, int(chosen.sum()), float(hits[chosen].mean()) if chosen.any() else math.nan))
    return rows


def calibrate(
    checkpoint: Checkpoint[MaskRCNNConfig],
    data: Path,
    images: Path,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[Checkpoint[MaskRCNNConfig], list[str]]:
    """Calibrate a checkpoint on a COCO file that it was not trained on; also return what to say about it.

    `notify` takes remarks about the data. Raises DataError if nothing can be fitted to them.
    """
    dataset = load_coco(data, images)
    for remark in dataset.remarks:
        notify(remark)
    check_measurable(data, dataset)
    truth = read_truth(data)
    scores, hits = match_detections(truth.annotations, detections(checkpoint, dataset))
    platt = fit(scores, hits)
    lines = [f"scores become sigmoid({platt.scale:.3f} · logit + {platt.shift:.3f}); of the boxes right are"]
    for low, high, count, share in reliability(scores, hits, _EDGES):
        if not count:
            continue
        new = f"{platt(low):.3f}–{platt(min(high, 0.9999)):.3f}"
        lines.append(
            f"  {share:4.0%} of {count} with scores of {low:g}–{min(high, 1.0):g}, which become {new}"
        )
    return bake(checkpoint, platt), lines


def _corners(entries: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    boxes = torch.tensor([e["bbox"] for e in entries], dtype=torch.float64).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)
