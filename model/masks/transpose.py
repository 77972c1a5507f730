"""Runs along the rows of a mask, found from those down its columns without a bitmap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model.masks.corners import column_corners
from model.masks.runs import Check, Runs, TooDetailed, nothing

_Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def transposed(runs: Runs, check: Check = nothing, most: int | None = None) -> Runs:
    """Return the runs of the transposed mask, which are those along the rows of the mask itself.

    Raise TooDetailed if it has more than `most`.
    """
    parts, count = [np.empty(0, np.int64)], 0
    for x, top, length in _upright_edges(runs):
        check()
        count += int(length.sum())
        if most is not None and count > 2 * most:
            raise TooDetailed(f"a mask has more than {most} runs along its rows")
        # Every pixel of an upright edge is the end of a run along its row.
        within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
        parts.append((np.repeat(top, length) + within) * (runs.width + 1) + np.repeat(x, length))
    ends = np.concatenate(parts)
    check()
    ends.sort()
    return Runs(runs.top, runs.left, runs.height, runs.width, ends)


def row_ends(runs: Runs) -> int:
    """Return how many ends the runs along the rows have."""
    return sum(int(length.sum()) for _, _, length in _upright_edges(runs))


def _upright_edges(runs: Runs) -> Iterator[_Edges]:
    """Return the upright edges of the mask's boundary, in parts: x, y of the upper end, and length, in the crop."""
    for code in column_corners(runs):
        x, top = np.divmod(
            code[::2] >> 2, runs.height + 1
        )  # the corners of a column are the ends of edges, in pairs
        yield x, top, (code[1::2] >> 2) - (code[::2] >> 2)
