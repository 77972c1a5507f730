"""Fewer corners for an outline (Ramer, Douglas and Peucker), so that a person can edit it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.masks.runs import Check, nothing

_PIECE = 4096  # corners between two that stay in any case, so that the work grows with the number of corners


def simplified(ring: NDArray[np.int32], tolerance: float, check: Check = nothing) -> NDArray[np.int32]:
    """Return a closed ring [n, 2] with a part of its corners, from which no other is farther than `tolerance`.

    A ring that would have fewer than three corners stays as it is.
    """
    kept = np.zeros(len(ring) + 1, np.bool_)
    kept[::_PIECE] = kept[-1] = True
    closed = np.concatenate((ring, ring[:1])).astype(np.float64)
    # No edge leads from the first corner to itself, so the one that is farthest from it stays, too.
    kept[int(((closed - closed[0]) ** 2).sum(1).argmax())] = True
    anchors = np.flatnonzero(kept).tolist()
    open_pieces = list(pairwise(anchors))
    while open_pieces:
        check()
        first, last = open_pieces.pop()
        if last - first < 2:
            continue
        away = _squared_distances(closed[first + 1 : last], closed[first], closed[last])
        farthest = int(away.argmax())
        if away[farthest] > tolerance**2:
            middle = first + 1 + farthest
            kept[middle] = True
            open_pieces += [(first, middle), (middle, last)]
    left: NDArray[np.int32] = ring[kept[:-1]]
    return left if len(left) >= 3 else ring


def _squared_distances(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the squared distances of points [n, 2] from the edge between two others."""
    along = end - start
    length = float(along @ along)
    place = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    gaps = points - start - place[:, None] * along
    found: NDArray[np.float64] = (gaps**2).sum(1)
    return found
