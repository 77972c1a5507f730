"""The runs of a mask in its image, found along its contour alone.

Between four cells on the same side of the threshold every pixel is on that side, too (see `paste.py`). So where a run
begins or ends, one of the two pixels is between cells of both sides, or such cells lie between the two. These pixels
are the candidates. For a mask that is about as fine as its box in the image they are a few for each pixel of the
contour, where `runs.pasted` looks at every pixel of the box.

Legend: s — side of the mask · corner (i, j) — the point in the middle of four cells, 0…s along both axes, with a rim of
zeros around the mask; pixels belong to the corner whose cells surround them · n — candidates
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.masks.axis import Axis, axis
from model.masks.paste import THRESHOLD, pasting
from model.masks.runs import Check, Runs, TooDetailed, nothing, pasted

Ints = NDArray[np.intp]

_MOST = 0.15  # candidates for each pixel of the box, from which on looking at all pixels is faster
_BAND = 64  # rows of corners that are searched at a time, so that what is computed stays in the caches
_PART = 1 << 16  # candidates that are treated at a time, as far as whole columns of pixels allow


def runs_of_logits(
    logits: Tensor,
    box: Sequence[float],
    width: int,
    height: int,
    check: Check = nothing,
    most: int | None = None,
) -> Runs:
    """Return what `pasted` does for the probabilities of logits [s, s], which are on the host.

    box: (x0, y0, x1, y1) in the pixels of an image of `width` × `height`. Raise TooDetailed if there are more than
    `most` runs.
    """
    x0, y0, x1, y1 = box
    side = logits.shape[-1]
    x, y = axis(side, x0, x1, width), axis(side, y0, y1, height)
    contour = _Contour.of(logits, x, y) if x.size and y.size else None
    if contour is None or contour.candidates.sum() > _MOST * x.size * y.size:
        return pasted(pasting(logits.sigmoid().numpy(), box, width, height), check, most)
    found: list[NDArray[np.int64]] = []
    count = 0
    for left, right in contour.parts():
        check()
        found.append(contour.ends(left, right))
        count += found[-1].size
        if most is not None and count > 2 * most:
            raise TooDetailed(f"a mask has more than {most} runs")
    return Runs(x.start, y.start, x.size, y.size, np.concatenate(found))


@dataclass(frozen=True, eq=False)
class _Pixels:
    """The pixels of a box along one axis."""

    corner: Ints  # of each pixel
    weight: NDArray[np.float32]  # of the second of the two cells
    first: Ints  # [s + 2] the first pixel of each corner, or of the next one that has any; the last is their number

    @classmethod
    def of(cls, axis: Axis) -> _Pixels:
        corner, weight = axis.places(0, axis.size)
        return cls(corner, weight, np.searchsorted(corner, np.arange(axis.side + 2)))


@dataclass(frozen=True, eq=False)
class _Contour:
    """The corners whose four cells are on both sides of the threshold, and the candidates around them."""

    logits: Tensor
    inside: NDArray[np.bool_]  # [s + 2, s + 2] which cells are foreground, with the rim
    x: _Pixels
    y: _Pixels
    column: Ints  # i of each such corner, ascending
    top: Ints  # its first candidate among the rows of pixels
    rows: Ints  # the number of its candidates in a column of pixels
    candidates: Ints  # in each column of pixels

    @classmethod
    def of(cls, logits: Tensor, along_x: Axis, along_y: Axis) -> _Contour:
        x, y = _Pixels.of(along_x), _Pixels.of(along_y)
        side = along_x.side
        inside = np.zeros((side + 2, side + 2), np.bool_)
        np.greater_equal(logits.numpy(), 0, out=inside[1:-1, 1:-1])
        j, i = np.divmod(_corners(inside), side + 1)
        order = np.argsort(i, kind="stable")
        i, j = i[order], j[order]
        # With the pixels before and after: of two pixels that differ, one may be away from such corners, or both.
        top = np.maximum(y.first[j] - 1, 0)
        rows = np.minimum(y.first[j + 1], along_y.size - 1) - top + 1
        each = np.bincount(i, rows, side + 1).astype(np.intp)
        return cls(logits, inside, x, y, i, top, rows, each[x.corner])

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield all columns of pixels in parts."""
        total = np.cumsum(
            self.candidates + 3
        )  # with the first and the last row, and the place after each column
        left = 0
        while left < total.size:
            before = total[left - 1] if left else 0
            right = max(left + 1, int(np.searchsorted(total, before + _PART, side="right")))
            yield left, right
            left = right

    def ends(self, left: int, right: int) -> NDArray[np.int64]:
        """Return the ends of the runs in columns left…right - 1 of pixels, as places in the whole crop (see `Runs`)."""
        height = self.y.corner.size
        places = self._places(left, right)
        x, y = np.divmod(places, height + 1)
        inside = np.zeros(places.size, np.bool_)  # as it is after each column
        pixels = np.flatnonzero(y < height)
        inside[pixels] = self._inside(x[pixels], y[pixels])
        # Places that do not follow each other have equal pixels between them.
        changed = inside[1:] != inside[:-1]
        changed &= places[1:] == places[:-1] + 1
        ends: NDArray[np.int64] = places[1:][changed]
        return ends if not inside[0] else np.concatenate((places[:1], ends))

    def _places(self, left: int, right: int) -> NDArray[np.int64]:
        """Return the places of all candidates in some columns of pixels, in order, and of both ends of the columns."""
        step = self.y.corner.size + 1
        first, last = self.x.corner[left], self.x.corner[right - 1]
        own = slice(*np.searchsorted(self.column, (first, last + 1)))
        # A corner's candidates in one column, then in each of the columns of its i that are asked for.
        starts = np.maximum(self.x.first[self.column[own]], left)
        columns = np.minimum(self.x.first[self.column[own] + 1], right) - starts
        corner, column = _expanded(columns)
        x, rows = starts[corner] + column, self.rows[own][corner]
        candidate, row = _expanded(rows)
        places = (x * step + self.top[own][corner])[candidate] + row
        edges = np.arange(left, right)[:, None] * step + [0, step - 2, step - 1]
        places = np.concatenate((places, edges.ravel()))
        places.sort()
        kept: NDArray[np.int64] = places[np.append(True, places[1:] != places[:-1])]
        return kept

    def _inside(self, x: Ints, y: Ints) -> NDArray[np.bool_]:
        """Return which of some pixels [n] are foreground."""
        size = len(self.inside)
        place = self.y.corner[y] * size + self.x.corner[x]
        cells = self.inside.reshape(-1)
        inside: NDArray[np.bool_] = cells[place]
        mixed = (cells[place + 1] != inside) | (cells[place + size] != inside)
        mixed |= cells[place + size + 1] != inside
        if mixed.any():
            inside[mixed] = self._values(x[mixed], y[mixed]) >= THRESHOLD
        return inside

    def _values(self, x: Ints, y: Ints) -> NDArray[np.float32]:
        """Return the probabilities [n] of pixels: interpolated along y first, as `paste.py` does it."""
        down, across = self.y.weight[y], self.x.weight[x]
        row, column = self.y.corner[y], self.x.corner[x]
        right: NDArray[np.float32]
        left, below, right, below_right = self._cells(
            np.stack((column, column, column + 1, column + 1)), np.stack((row, row + 1, row, row + 1))
        )
        left += down * (below - left)
        right += down * (below_right - right)
        right -= left
        right *= across
        right += left
        return right

    def _cells(self, column: Ints, row: Ints) -> NDArray[np.float32]:
        """Return the probabilities of cells, which are counted with the rim; there they are 0."""
        side = self.logits.shape[-1]
        rim = (column == 0) | (row == 0) | (column > side) | (row > side)
        place = (row - 1) * side + column - 1
        place[rim] = 0
        found: NDArray[np.float32] = self.logits.reshape(-1)[torch.from_numpy(place)].sigmoid().numpy()
        found[rim] = 0
        return found


def _corners(inside: NDArray[np.bool_]) -> Ints:
    """Return the corners, ascending, whose four cells of [s + 2, s + 2] are not alike, as flat indices."""
    last = len(inside) - 1
    found = []
    for top in range(0, last, _BAND):
        rows = inside[top : top + _BAND + 1]
        across = rows[:, 1:] != rows[:, :-1]
        mixed = across[1:] | across[:-1]
        mixed |= rows[1:, 1:] != rows[:-1, 1:]
        found.append(np.flatnonzero(mixed) + top * last)
    return np.concatenate(found)


def _expanded(counts: Ints) -> tuple[Ints, Ints]:
    """Return for each of Σ counts the index of its count, and its number within that count."""
    owner = np.repeat(np.arange(counts.size), counts)
    return owner, np.arange(owner.size) - (np.cumsum(counts) - counts)[owner]
