"""How much of each pixel a mask covers, from samples of the mask below the pixel.

A mask's logits are samples of a continuous function over its box, which bilinear interpolation restores. Its contour is
where that function is 0. Logits, not probabilities: a steep edge saturates probabilities, and then their
interpolation puts the contour half way between two cells, wherever it really is.

A pixel has 16 places on a lattice, each with a row and a column of its own, so that edges of every direction, level
ones included, cover them one after another. Which of them a mask covers is 16 bits. The union of masks is the union
of their bits, exactly: two objects that meet within a pixel fill it.

Legend: s — side of the mask (height and width may differ); (h, w) — a part of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.masks.axis import Axis, touched

SAMPLES = 16  # of a pixel
_STEP = 5  # rows from one sample to the next; of all lattices of 16 the one with the least mean error at straight edges
_BLOCK = 128  # columns that are looked at together: most of a mask is whole blocks on one side of the contour
_ROUNDING = np.float32(1e-5)
ALL = np.uint16(2**SAMPLES - 1)
OFFSETS_X = ((np.arange(SAMPLES) + 0.5) / SAMPLES).astype(np.float32)
OFFSETS_Y = ((_STEP * np.arange(SAMPLES) % SAMPLES + 0.5) / SAMPLES).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the samples of n pixels lie among the cells along an axis, rim included."""

    cell: NDArray[np.intp]  # [16, n]: at or before the sample
    weight: NDArray[np.float32]  # [16, n]: of the next cell
    start: NDArray[np.intp]  # [n]: the first cell of the pixel's samples
    stop: NDArray[np.intp]  # [n]: the cell after the last one
    middle: NDArray[np.float32]  # [n]: mean of the weights
    spread: NDArray[np.float32]  # [n]: the largest difference from it

    def part(self, first: int, last: int) -> _Places:
        """Return the places of pixels first…last - 1."""
        part = np.s_[first:last]
        return _Places(
            self.cell[:, part],
            self.weight[:, part],
            self.start[part],
            self.stop[part],
            self.middle[part],
            self.spread[part],
        )


@dataclass(frozen=True, eq=False)
class Coverage:
    """A mask whose samples are yet to be computed. Its pixels are those that its box touches."""

    x: Axis
    y: Axis
    logits: NDArray[np.float32]  # [s, s]

    @property
    def columns(self) -> slice:
        """The image's columns that the box touches."""
        return slice(self.x.start, self.x.start + self.x.size)

    @property
    def rows(self) -> slice:
        """The image's rows that the box touches."""
        return slice(self.y.start, self.y.start + self.y.size)

    def add(self, bits: NDArray[np.uint16], top: int, left: int = 0) -> int:
        """Set the samples that the mask covers in a part of the image, [h, w] from (left, top).

        Those that are set stay set. Only pixels whose cells are on both sides of the contour are sampled, because
        interpolation cannot leave the side on which all cells are. Return their number.
        """
        height, width = bits.shape
        rows = slice(max(self.rows.start, top), min(self.rows.stop, top + height))
        columns = slice(max(self.columns.start, left), min(self.columns.stop, left + width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return 0
        y = _places(self.y, rows.start - self.rows.start, rows.stop - self.rows.start, OFFSETS_Y)
        x = _places(self.x, columns.start - self.columns.start, columns.stop - self.columns.start, OFFSETS_X)
        cells = _Cells.of(self.logits, int(y.start.min()), int(y.stop.max()))
        part = bits[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        blocks = range(0, part.shape[1], _BLOCK)
        return sum(cells.add(part[:, at : at + _BLOCK], x.part(at, at + _BLOCK), y) for at in blocks)


def coverage(logits: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> Coverage:
    """Return the coverage of an image of `width` × `height` pixels by a mask; nothing is computed yet.

    logits: float32 [s, s]. box: (x0, y0, x1, y1) in image pixels; what lies outside the image is left out.
    """
    x0, y0, x1, y1 = box
    x, y = touched(logits.shape[1], x0, x1, width), touched(logits.shape[0], y0, y1, height)
    return Coverage(x, y, logits)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Some rows of a mask's cells, beginning with row `top`, rim included."""

    top: int
    field: NDArray[np.float32]  # [n, s + 2]: logits
    inside: NDArray[np.int32]  # [n + 1, s + 3]: how many cells above and left of a corner are foreground

    @classmethod
    def of(cls, logits: NDArray[np.float32], top: int, bottom: int) -> _Cells:
        """Return rows top…bottom - 1 of a mask of s rows, where the rim is rows 0 and s + 1."""
        field = _rimmed(logits, top, bottom)
        inside = np.zeros((field.shape[0] + 1, field.shape[1] + 1), np.int32)
        (field >= 0).cumsum(0, dtype=np.int32).cumsum(1, out=inside[1:, 1:])
        return cls(top, field, inside)

    def add(self, bits: NDArray[np.uint16], x: _Places, y: _Places) -> int:
        """Set the covered samples of a block of pixels, and return how many pixels were sampled."""
        above, below = y.start - self.top, y.stop - self.top
        left, right, top, bottom = x.start.min(), x.stop.max(), above.min(), below.max()
        corners = self.inside[top : bottom + 1, left : right + 1]
        within = corners[-1, -1] - corners[0, -1] - corners[-1, 0] + corners[0, 0]
        if within == 0:
            return 0
        if within == (right - left) * (bottom - top):
            bits[:] = ALL
            return 0
        down = self.inside.take(below, axis=0) - self.inside.take(above, axis=0)
        count = down.take(x.stop, axis=1) - down.take(x.start, axis=1)
        whole = count == np.multiply.outer(below - above, x.stop - x.start)
        bits[whole] = ALL
        row, column = np.nonzero((count > 0) & ~whole)
        side = self._sides(x, y, column, row)
        bits[row[side > 0], column[side > 0]] = ALL
        row, column = row[side == 0], column[side == 0]
        bits[row, column] |= self._sampled(x, y, column, row)
        return int(row.size)

    def _sides(
        self, x: _Places, y: _Places, column: NDArray[np.intp], row: NDArray[np.intp]
    ) -> NDArray[np.int8]:
        """Return 1 for a pixel that is known to be inside, -1 for one outside, and 0 if it has to be sampled.

        Between the same four cells no sample differs from the value in the middle by more than the steepest slopes
        allow. This is for masks whose cells are much larger than pixels.
        """
        flat, stride = self.field.reshape(-1), self.field.shape[1]
        corner = (y.start.take(row) - self.top) * stride + x.start.take(column)
        upper, upper_right = flat.take(corner), flat.take(corner + 1)
        lower, lower_right = flat.take(corner + stride), flat.take(corner + stride + 1)
        across, down = x.middle.take(column), y.middle.take(row)
        right, right_below = upper_right - upper, lower_right - lower
        value = upper + across * right
        value += down * (lower + across * right_below - value)
        slope_x = np.maximum(np.abs(right), np.abs(right_below))
        slope_y = np.maximum(np.abs(lower - upper), np.abs(lower_right - upper_right))
        reach = x.spread.take(column) * slope_x + y.spread.take(row) * slope_y
        reach += _ROUNDING * (slope_x + slope_y)
        alone = (x.stop - x.start == 2).take(column) & (y.stop - y.start == 2).take(row)
        return np.where(alone & (np.abs(value) > reach), np.sign(value), 0).astype(np.int8)

    def _sampled(
        self, x: _Places, y: _Places, column: NDArray[np.intp], row: NDArray[np.intp]
    ) -> NDArray[np.uint16]:
        """Return which samples of pixels (column, row), each [n], are foreground."""
        flat, stride = self.field.reshape(-1), self.field.shape[1]
        bits = np.zeros(column.size, np.uint16)
        for sample in range(SAMPLES):
            corner = (y.cell[sample].take(row) - self.top) * stride + x.cell[sample].take(column)
            across, down = x.weight[sample].take(column), y.weight[sample].take(row)
            upper, lower = flat.take(corner), flat.take(corner + stride)
            upper += across * (flat.take(corner + 1) - upper)
            lower += across * (flat.take(corner + stride + 1) - lower)
            upper += down * (lower - upper)
            bits |= (upper >= 0).astype(np.uint16) << np.uint16(sample)
        return bits


def alpha_of(bits: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the covered share of each pixel, from 0 to 255."""
    return _SHARES.take(np.bitwise_count(bits))


_SHARES = np.round(np.arange(SAMPLES + 1) * (255 / SAMPLES)).astype(np.uint8)


def _places(axis: Axis, first: int, last: int, offsets: NDArray[np.float32]) -> _Places:
    cell, weight = axis.places(first, last, offsets[:, None])
    middle = weight.mean(0)
    return _Places(cell, weight, cell.min(0), cell.max(0) + 2, middle, np.abs(weight - middle).max(0))


def _rimmed(logits: NDArray[np.float32], top: int, bottom: int) -> NDArray[np.float32]:
    """Return rows top…bottom - 1 of the logits with a rim that is as far outside as the cells beside it are inside.

    So a mask that fills its box ends where the box does. The rim is rows and columns 0 and s + 1.
    """
    side = len(logits)
    rows = np.arange(top - 1, bottom - 1)
    field = np.pad(logits[rows.clip(0, side - 1)], ((0, 0), (1, 1)), mode="edge")
    outside = (rows < 0) | (rows >= side)
    field[outside] = -np.abs(field[outside])
    field[:, 0], field[:, -1] = -np.abs(field[:, 0]), -np.abs(field[:, -1])
    return field
