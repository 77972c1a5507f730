"""The corners of a mask's boundary, found from its runs without a bitmap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.masks.runs import Check, Runs, TooDetailed, nothing

_PART = 1 << 15  # ends of runs treated at a time, as far as columns allow


@dataclass(frozen=True, eq=False)
class Corners:
    """The corners of the boundary, row by row, each [n], in pixels of the crop.

    Along a row, boundary edges run from corner to corner, so corners 2i and 2i + 1 share a horizontal
    edge; likewise down each column. Where two pixels touch diagonally there are two corners, one for
    each pixel; the first of them ends the edge from the left.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    below: NDArray[np.int32]  # the other end of each one's vertical edge
    inside: NDArray[np.bool_]  # of the left end of an edge: whether the pixel below it is foreground


def corners(runs: Runs, check: Check = nothing, most: int | None = None) -> Corners:
    """Return the corners of a mask. Raise TooDetailed if it has more than `most`."""
    parts, count = [], 0
    for part in column_corners(runs):
        check()
        parts.append(part)
        count += part.size
        if most is not None and count > most:
            raise TooDetailed(f"a mask has more than {most} corners")
    code = np.concatenate(parts)
    found, odd = code >> 2, (code & 1).astype(np.bool_)
    inside = ((code ^ code >> 1) & 1) == 0
    del code, parts
    x = found // (runs.height + 1)
    found -= x * (runs.height + 1)
    # Of two corners in one place, the one with the odd end comes second: it ends the edge from above too, unless the
    # two pixels are the upper right and the lower left one.
    key = (found * (runs.width + 1) + x) * 2 + odd
    check()
    order = np.argsort(key)
    del key
    check()
    rank = np.empty(order.size, np.int32)
    rank[order] = np.arange(order.size, dtype=np.int32)
    return Corners(x[order].astype(np.int32), found[order].astype(np.int32), rank[order ^ 1], inside[order])


def column_corners(runs: Runs) -> Iterator[NDArray[np.int64]]:
    """Return the corners column by column, in parts: int64 codes, ascending.

    The ends of the runs of two neighbouring columns are the ends of the horizontal edges on both sides of the line
    between them. Where both columns have the same end, the edge goes on; everywhere else it has a corner. A code is
    4 · place (as in `Runs`) + 2 if the edge is to the left + 1 if a run ends there and does not begin.
    """
    column, count = runs.height + 1, runs.ends.size
    step = max(1, (runs.width + 1) * _PART // max(1, count))
    for first in range(0, runs.width + 1, step):
        last = min(first + step, runs.width + 1)
        a, b, c, d = np.searchsorted(
            runs.ends, [(first - 1) * column, first * column, (last - 1) * column, last * column]
        )
        right = runs.ends[b:d] * 4 + (np.arange(b, d) & 1)
        left = (runs.ends[a:c] + column) * 4 + 2 + (np.arange(a, c) & 1)
        code = np.concatenate((right, left))
        code.sort(kind="stable")  # two ascending halves: this merges them
        same = (code[1:] ^ code[:-1]) == 2
        kept = np.ones(code.size, np.bool_)
        kept[1:][same] = kept[:-1][same] = False
        yield code[kept]
