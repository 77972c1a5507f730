"""Intersection over union of label maps: of the classes' areas, and of the bands along their outlines.

Pure functions on counts, which add up over images. Pixels whose truth is VOID count nowhere.

H, W image size · K classes
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.masks.palette import VOID

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]
BAND = 0.005  # of the image's diagonal


def confusion(truth: Labels, predicted: Labels, num_classes: int) -> Counts:
    """Return how many pixels of class i (row) were predicted as class j, [K, K]; maps are [H, W]."""
    counted = truth != VOID
    pairs = truth[counted].astype(np.int64) * num_classes + predicted[counted]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def overlap(matrix: Counts) -> Counts:
    """Return intersections and unions [2, K] of a confusion matrix [K, K]."""
    both = matrix.diagonal()
    return np.stack([both, matrix.sum(0) + matrix.sum(1) - both])


def area_overlap(truth: Labels, predicted: Labels, num_classes: int) -> Counts:
    """Return intersections and unions [2, K] of the classes' areas."""
    return overlap(confusion(truth, predicted, num_classes))


def correct_pixels(truth: Labels, predicted: Labels) -> Counts:
    """Return how many pixels have the right class, and how many count: [2, 1]."""
    counted = truth != VOID
    return np.array([[np.count_nonzero(truth[counted] == predicted[counted])], [np.count_nonzero(counted)]])


def band_width(height: int, width: int) -> int:
    """Return the width of a band in pixels: half a percent of the diagonal (3 at 360×480).

    The authors of Boundary IoU take this share for Cityscapes.
    """
    return max(1, round(BAND * math.hypot(height, width)))


def boundary_overlap(truth: Labels, predicted: Labels, num_classes: int, width: int | None = None) -> Counts:
    """Return intersections and unions [2, K] of the classes' boundary bands (Cheng et al., arXiv:2103.16562).

    The band of a class consists of its pixels that have a pixel of another class within `width` steps (chessboard
    distance; None: `band_width`). Unlike in the paper, neither the image's edge nor a VOID pixel ends a
    class: no outline was drawn there.
    """
    width = band_width(*truth.shape) if width is None else width
    void = torch.from_numpy(truth == VOID)
    first, second = (_bands(torch.from_numpy(m), void, num_classes, width) for m in (truth, predicted))
    return np.stack([(first & second).sum((1, 2)).numpy(), (first | second).sum((1, 2)).numpy()])


def iou(counts: Counts) -> NDArray[np.float64]:
    """Return the share [K] of intersections and unions [2, K]; NaN for a class that is in neither map."""
    both, either = counts.astype(np.float64)
    share: NDArray[np.float64] = np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)
    return share


def mean(values: NDArray[np.float64]) -> float:
    """Return the mean over the classes that are there; NaN if none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _bands(labels: Tensor, void: Tensor, num_classes: int, width: int) -> Tensor:
    """Return the classes' bands [K, H, W] bool; void pixels are in none."""
    masks = (labels == torch.arange(num_classes, dtype=labels.dtype)[:, None, None]) & ~void
    outside = (~masks & ~void)[None].float()
    # A square's dilation, one direction after the other; padding never is the largest.
    for kernel, padding in (((2 * width + 1, 1), (width, 0)), ((1, 2 * width + 1), (0, width))):
        outside = F.max_pool2d(outside, kernel, 1, padding)
    return masks & (outside[0] > 0)
