"""Scores of boxes that mean what they say: of those with 0.7, seven in ten are right.

A detector trained on few images is too sure of itself. Platt scaling fits sigmoid(a · logit(score) + b) to
which boxes were right on held-out data; a and b become part of the classification layer, so nothing that
runs a network needs to know. The order of boxes stays. A model with `mask_score` goes on to multiply.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou
from tqdm import tqdm

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.instance import MaskRCNNConfig
from model.data.coco import CocoDataset, read_image
from model.evaluation.coco_ap import match_classes
from model.networks.boxes import covered
from model.predict.instance import InstanceOptions

IOU = 0.5  # of a right detection with its true box, COCO's loosest bar
_START = np.array([1.0, 0.0])  # scores as they are
_RIDGE = 1e-2  # of a detection: keeps a fit to very few of them near the start
_EDGE = 1e-6  # scores nearer to 0 or 1 count as this near


@dataclass(frozen=True)
class Platt:
    """sigmoid(scale · logit + shift)."""

    scale: float
    shift: float

    def __call__(self, score: float) -> float:
        inside = min(max(score, _EDGE), 1 - _EDGE)
        return 1 / (1 + math.exp(-(self.scale * math.log(inside / (1 - inside)) + self.shift)))


def detections(checkpoint: Checkpoint[MaskRCNNConfig], dataset: CocoDataset) -> list[dict[str, Any]]:
    """COCO results without masks, whose scores are those of the boxes alone, with a progress bar.

    Raises ValueError if checkpoint and data have no class in common.
    """
    classes = match_classes(checkpoint, dataset.categories)
    predictor = eager_predictor(replace(checkpoint, config=replace(checkpoint.config, mask_score=False)))
    limit = checkpoint.config.box.max_detections
    everything = InstanceOptions(score=0.0, max_instances=limit, classes=frozenset(classes))
    results = []
    for record in tqdm(dataset.records, "detecting", unit="image"):
        prepared = predictor.prepare(read_image(record))
        for region in predictor.regions(predictor.coarse([prepared]), 0, prepared, everything):
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


def right(data: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores [N] of a COCO results list, and whether each is right [N].

    In the order of scores a detection takes the true box that it overlaps most, if by at least IOU and not taken yet.
    Those without one that lie on a crowd (by at least IOU of their own area, as COCO has it) are left out.
    """
    scores, hits = [], []
    for key in sorted({(r["image_id"], r["category_id"]) for r in results}):
        mine = [a for a in data["annotations"] if (a["image_id"], a["category_id"]) == key]
        true = _corners([a for a in mine if not a.get("iscrowd", 0)])
        crowds = _corners([a for a in mine if a.get("iscrowd", 0)])
        found = sorted(
            (r for r in results if (r["image_id"], r["category_id"]) == key), key=lambda r: -r["score"]
        )
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


def fit(scores: NDArray[Any], hits: NDArray[Any]) -> Platt:
    """The most likely scaling (Newton's method). Raises ValueError if detections are all right or all wrong."""
    if hits.all() or not hits.any():
        raise ValueError(
            f"{hits.sum()} of {len(hits)} detections are right: there is nothing to calibrate by"
        )
    clipped = scores.clip(_EDGE, 1 - _EDGE)
    inputs = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(scores))], axis=1)
    weights = _START
    for _ in range(100):
        p = 1 / (1 + np.exp(-(inputs @ weights).clip(-30, 30)))
        curvature = inputs.T @ (inputs * (p * (1 - p))[:, None]) + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, inputs.T @ (p - hits) + _RIDGE * (weights - _START))
        weights = weights - step / max(1.0, float(np.abs(step).max()))  # a full step may overshoot for ever
        if np.abs(step).max() < 1e-9:
            break
    if weights[0] <= 0:
        raise ValueError("the more sure the model is, the less it is right: such scores cannot be calibrated")
    return Platt(float(weights[0]), float(weights[1]))


def bake(checkpoint: Checkpoint[MaskRCNNConfig], platt: Platt) -> Checkpoint[MaskRCNNConfig]:
    """The checkpoint with calibrated scores, and its threshold moved along, so that it finds the same boxes.

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
    """Rows (from, to, detections, share that is right) between the edges."""
    rows = []
    for low, high in itertools.pairwise(edges):
        chosen = (scores >= low) & (scores < high)
        rows.append((low, high, int(chosen.sum()), float(hits[chosen].mean()) if chosen.any() else math.nan))
    return rows


def _corners(entries: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    boxes = torch.tensor([e["bbox"] for e in entries], dtype=torch.float64).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)
