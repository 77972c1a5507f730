"""Masks in true boxes: how well a network draws what somebody else has found.

Every annotated box is given to the network, as a request with `boxes` does, and each mask is compared with that box's
own. Which masks belong together is known, so there is an IoU for each annotation, whose mean says more than AP. AP is
measured, too, as COCO has it: over the categories of the annotations, with a score of 1 for every mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from torch import Tensor
from torch.nn import functional as F

from model.config.categories import Category
from model.data.augment import View
from model.data.coco import Annotation, CocoDataset, Record, read_image
from model.data.fields import DataError
from model.evaluation.coco_ap import average_precision
from model.evaluation.coco_results import coco_result
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.predictor import Prompt
from model.progress import progress

BAND = 0.02  # of the image's diagonal: the width of a boundary, as for boundary AP
HEADLINE = ("mask/AP", "iou/all", "boundary_iou/all")  # metrics that one line has room for
# The sizes of COCO by the area of the true mask in pixels: from … to below.
SIZES = {"all": (0, math.inf), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, math.inf)}


@dataclass(frozen=True)
class Overlap:
    """How the mask in one true box agrees with the true mask."""

    area: int  # of the true mask, in pixels
    iou: float
    boundary_iou: float


def measure_in_true_boxes(
    predictor: InstancePredictor,
    data: Path,
    dataset: CocoDataset,
    classes: Mapping[Category, int],
    options: InstanceOptions,
    limit: int | None = None,
    *,
    one_class: bool = False,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return metrics and COCO results of the masks in the boxes of all annotations that have a mask.

    `classes` has the network's class for each category that is measured. Only the first images count, if there is a
    limit. With `one_class` AP is that of all categories as one. Raises DataError if nothing can be measured.
    """
    results: list[dict[str, Any]] = []
    overlaps: list[Overlap] = []
    for record in progress(dataset.records[:limit], "predicting", unit="image"):
        wanted = [
            a for a in record.annotations if a.shape is not None and dataset.categories[a.category] in classes
        ]
        prompts = tuple(Prompt(a.box, classes[dataset.categories[a.category]]) for a in wanted)
        if not prompts:
            continue
        found = predictor(read_image(record), replace(options, prompts=prompts)).finish().masks
        for annotation, mask in zip(wanted, found, strict=True):
            category = dataset.categories[annotation.category]
            result = coco_result(mask, category, record.image_id, record.width, record.height)
            results.append(result | {"score": 1.0})
            overlaps.append(_compare(annotation, record, result))
    if not overlaps:
        raise DataError(f"{data}: no annotation of a class that the checkpoint knows has a mask")
    ids = [category.id for category in classes]
    images = [record.image_id for record in dataset.records[:limit]]
    measured = average_precision(data, results, ids, images, one_class=one_class)
    metrics = {name: value for name, value in measured.items() if not name.startswith("box/")}
    return metrics | mean_overlaps(overlaps), results


def mean_overlaps(overlaps: Sequence[Overlap]) -> dict[str, float]:
    """Return the mean IoU and the mean boundary IoU of each size (see SIZES); NaN where there is none."""
    found = {}
    for name in ("iou", "boundary_iou"):
        for size, (low, high) in SIZES.items():
            values = [getattr(o, name) for o in overlaps if low <= o.area < high]
            found[f"{name}/{size}"] = float(np.mean(values)) if values else math.nan
    return found


def _compare(annotation: Annotation, record: Record, result: Mapping[str, Any]) -> Overlap:
    assert annotation.shape is not None
    view = View((0, 0), (record.width, record.height), (record.height, record.width))
    truth = view.mask(annotation.shape)
    return overlap(truth, np.asarray(rle_codec.decode(result["segmentation"])))


def overlap(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> Overlap:
    """Return how two masks [H, W] of 0 and 1 agree: all over, and near their outlines."""
    reach = max(1, round(BAND * math.hypot(*truth.shape)))
    rows, columns = np.flatnonzero((truth | found).any(1)), np.flatnonzero((truth | found).any(0))
    if not len(rows):
        return Overlap(0, 1.0, 1.0)
    # Around both masks everything is outside, as beyond the edge of the image, so it need not be looked at.
    used = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    masks = torch.from_numpy(np.stack([truth[used], found[used]])).bool()
    return Overlap(int(truth.sum()), _iou(masks), _iou(boundaries(masks, reach)))


def boundaries(masks: Tensor, reach: int) -> Tensor:
    """Return the pixels of masks [N, H, W] that lie at most `reach` pixels inside.

    As in Boundary IoU (Cheng et al., arXiv:2103.16562), distances are a chessboard's, and what lies beyond the edge is
    outside of every mask.
    """
    outside = F.pad((~masks)[:, None].float(), (reach,) * 4, value=1.0)
    # A square's dilation, one direction after the other.
    for kernel in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        outside = F.max_pool2d(outside, kernel, 1)
    return masks & (outside[:, 0] > 0)


def _iou(masks: Tensor) -> float:
    """Return the IoU of two masks [2, H, W] of which one is not empty."""
    return int(masks.all(0).sum()) / int(masks.any(0).sum())
