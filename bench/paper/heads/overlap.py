"""The overlap of two masks, and means with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as rle_codec
from numpy.typing import NDArray

BAND = 0.02  # of the image's diagonal (Boundary IoU, arXiv:2103.16562; as boundary AP has it)
Floats = NDArray[np.float64]


def overlaps(mask: Mapping[str, Any], truth: Mapping[str, Any]) -> tuple[float, float]:
    """Return mask IoU and boundary IoU, 0 to 1, of two compressed RLEs of one image.

    Boundary IoU compares the pixels of each mask within `BAND` of its outline. The image's edge counts as an outline.
    """
    pair = [_bytes(mask), _bytes(truth)]
    bands = [rle_codec.rleToBoundary(rle, BAND) for rle in pair]
    return tuple(float(rle_codec.iou([a], [b], [0])[0][0]) for a, b in (pair, bands))  # type: ignore[return-value]


@dataclass(frozen=True)
class MeanOverlap:
    """A mean over instances, its standard error (NaN for fewer than two), and the number of instances."""

    mean: float
    error: float
    count: int


def mean(values: Floats) -> MeanOverlap:
    """Return the mean of values [N]; NaN if there is none."""
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return MeanOverlap(float(values.mean()) if count else math.nan, error, count)


def _bytes(rle: Mapping[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.encode() if isinstance(counts, str) else counts}
