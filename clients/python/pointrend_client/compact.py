"""Masks for the library supervision that take the memory of their outlines, where its version has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pointrend_client.rle import CroppedRuns

if TYPE_CHECKING:
    from supervision.detection.compact_mask import CompactMask


def compact_mask(crops: Sequence[CroppedRuns], size: tuple[int, int]) -> CompactMask | None:
    """Return the masks of a picture of this size, height and width, as a CompactMask.

    None if supervision has none, or one whose runs follow the rows, as the first versions had them.
    """
    try:
        from supervision.detection.compact_mask import CompactMask
    except ImportError:
        return None
    lower_left = CroppedRuns(0, 0, 2, 2, np.array([1, 1, 2], np.int32))
    if np.asarray(_made(CompactMask, [lower_left], (2, 2))).tolist() != [[[False, False], [True, False]]]:
        return None
    return _made(CompactMask, crops, size)


def _made(kind: Any, crops: Sequence[CroppedRuns], size: tuple[int, int]) -> CompactMask:
    shapes = np.array([(crop.height, crop.width) for crop in crops], np.int32).reshape(-1, 2)
    corners = np.array([(crop.left, crop.top) for crop in crops], np.int32).reshape(-1, 2)
    found: CompactMask = kind([crop.lengths for crop in crops], shapes, corners, size)
    return found
