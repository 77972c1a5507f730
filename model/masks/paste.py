"""Paste a box's mask into the image. Only the pixels of the box, the crop, are computed.

A pixel belongs to the crop if its centre (x + .5, y + .5) lies in the closed box. Its value is the bilinear sample of
the *probability* mask at that centre, with zeros around the mask (`align_corners=False`, so the zeros reach half a cell
into the box). Outside the box a value cannot reach 0.5, so a crop loses no foreground.

Legend: s — side of the mask (height and width may differ); (h, w) — size of the crop in image pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLD = np.float32(0.5)
_BLOCK = 1 << 16  # Pixels treated at a time: temporaries stay in the cache, and their memory is reused.


@dataclass(frozen=True, eq=False)
class Crop:
    """The part of a mask that can be foreground. `bitmap` is bool [h, w] with contiguous columns."""

    left: int
    top: int
    bitmap: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SoftCrop:
    """The part of a mask that can be foreground, before the threshold: float32 [h, w] with contiguous columns."""

    left: int
    top: int
    probability: NDArray[np.float32]


def paste(prob: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> Crop:
    """Return the binary mask of `box` in an image of `width` × `height` pixels: probability ≥ 0.5.

    prob: float32 [s, s], 0–1. box: (x0, y0, x1, y1) in image pixels; what lies outside the image is
    left out, and a box that holds no pixel centre gives an empty crop.

    Like PointRend, this interpolates only where it is uncertain: between four mask cells on the same side of the
    threshold every pixel is on that side, too, so only pixels at the contour are interpolated.
    """
    x, y = _axes(prob, box, width, height)
    rimmed = _rimmed(prob)
    inside = (rimmed >= THRESHOLD).view(np.uint8)
    votes = (inside[:-1, :-1] + inside[:-1, 1:] + inside[1:, :-1] + inside[1:, 1:]).T.take(y.cell, axis=1)
    state = np.empty((x.size, y.size), np.uint8)  # votes per pixel: 0 out, 4 in, 1–3 uncertain
    for part in _blocks(x, y):
        block = state[part]
        votes.take(x.cell[part], axis=0, out=block, mode="clip")  # the default mode would buffer `out`
        uncertain = np.flatnonzero((block & 3) > 0)
        column, row = np.divmod(uncertain, y.size)
        block >>= 2  # the mask, with the uncertain pixels out
        block.reshape(-1)[uncertain] = _bilinear(rimmed, x, y, column + part.start, row) >= THRESHOLD
    return Crop(x.start, y.start, state.view(np.bool_).T)


def paste_soft(prob: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> SoftCrop:
    """Return what `paste` compares with its threshold: `paste(…).bitmap == (paste_soft(…).probability >= 0.5)`."""
    x, y = _axes(prob, box, width, height)
    rimmed = _rimmed(prob)
    # Separable: rows first, where the mask is still small; the arithmetic of `_bilinear`.
    above = rimmed[y.cell]
    rows = above + y.weight[:, None] * (rimmed[y.cell + 1] - above)
    before = np.ascontiguousarray(rows.T)  # [s + 2, h]
    step = before[1:] - before[:-1]
    probability = np.empty((x.size, y.size), np.float32)
    scratch = np.empty((_columns(y), y.size), np.float32)
    for part in _blocks(x, y):
        cell, values = x.cell[part], probability[part]
        step.take(cell, axis=0, out=values, mode="clip")
        values *= x.weight[part, None]
        values += before.take(cell, axis=0, out=scratch[: cell.size], mode="clip")
    return SoftCrop(x.start, y.start, probability.T)


@dataclass(frozen=True, eq=False)
class _Axis:
    """Where the pixel centres of one axis fall among the cells of the rimmed mask."""

    start: int  # first pixel of the crop
    cell: NDArray[np.intp]  # [size], 0..s: the cell at or before the centre
    weight: NDArray[np.float32]  # [size], 0–1: of the next cell

    @property
    def size(self) -> int:
        return self.cell.size


def _axes(prob: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> tuple[_Axis, _Axis]:
    x0, y0, x1, y1 = box
    return _axis(prob.shape[1], x0, x1, width), _axis(prob.shape[0], y0, y1, height)


def _axis(side: int, low: float, high: float, length: int) -> _Axis:
    # float32 and this order of operations, as the reference: a centre on the very edge decides alike.
    lo, hi, half = np.float32(low), np.float32(high), np.float32(0.5)
    start = max(0, int(np.ceil(lo - half)))
    stop = min(length, int(np.floor(hi - half)) + 1) if hi > lo else start
    centre = np.arange(start, stop, dtype=np.float32) + half
    grid = (centre - lo) / max(hi - lo, np.finfo(np.float32).tiny) * 2 - 1
    position = ((grid + 1) * side - 1) / 2 + 1
    cell = np.clip(np.floor(position).astype(np.intp), 0, side)
    return _Axis(start, cell, np.clip(position - cell.astype(np.float32), 0, 1))


def _columns(y: _Axis) -> int:
    """Return how many columns are treated at a time."""
    return max(1, _BLOCK // max(1, y.size))


def _blocks(x: _Axis, y: _Axis) -> Iterator[slice]:
    columns = _columns(y)
    return (slice(start, start + columns) for start in range(0, x.size if y.size else 0, columns))


def _rimmed(prob: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mask with the zeros that surround it: [s + 2, s + 2]."""
    rimmed = np.zeros((prob.shape[0] + 2, prob.shape[1] + 2), np.float32)
    rimmed[1:-1, 1:-1] = prob
    return rimmed


def _bilinear(
    rimmed: NDArray[np.float32], x: _Axis, y: _Axis, column: NDArray[np.intp], row: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the values at the crop's pixels (column, row), each [n], interpolated along y first, then along x."""
    flat, stride = rimmed.reshape(-1), rimmed.shape[1]
    corner = y.cell[row] * stride + x.cell[column]
    weight = y.weight[row]
    left: NDArray[np.float32] = flat[corner]
    right: NDArray[np.float32] = flat[corner + 1]
    left += weight * (flat[corner + stride] - left)
    right += weight * (flat[corner + stride + 1] - right)
    right -= left
    right *= x.weight[column]
    right += left
    return right
