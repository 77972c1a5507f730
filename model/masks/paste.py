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

from model.masks.axis import Axis, axis

THRESHOLD = np.float32(0.5)
_BLOCK = 1 << 16  # pixels of a tile: its temporaries stay in the cache, and nothing grows with the crop
_DENSE = 0.2  # share of a tile's pixels from which on interpolating all of them is faster


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


@dataclass(frozen=True, eq=False)
class Tile:
    """Some whole columns of a crop, or a part of one column. `columns` is bool, a column after the other."""

    x: slice
    y: slice
    columns: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pasting:
    """A crop that is yet to be computed."""

    x: Axis
    y: Axis
    prob: NDArray[np.float32]

    def tiles(self) -> Iterator[Tile]:
        """Return the crop in the order of its columns, in tiles of at most 65,536 pixels."""
        if not self.x.size or not self.y.size:
            return
        sampler = _Sampler.of(self.prob)
        columns = max(1, _BLOCK // self.y.size)
        y = self.y.places(0, self.y.size) if self.y.size <= _BLOCK else None
        for left in range(0, self.x.size, columns):
            right = min(left + columns, self.x.size)
            x = self.x.places(left, right)
            for top in range(0, self.y.size, _BLOCK):
                bottom = min(top + _BLOCK, self.y.size)
                rows = y or self.y.places(top, bottom)
                yield Tile(slice(left, right), slice(top, bottom), sampler(x, rows))


def pasting(prob: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> Pasting:
    """Return the crop of `box` in an image of `width` × `height` pixels: probability ≥ 0.5; nothing is computed yet.

    prob: float32 [s, s], 0–1. box: (x0, y0, x1, y1) in image pixels; what lies outside the image is
    left out, and a box that holds no pixel centre gives an empty crop.
    """
    x0, y0, x1, y1 = box
    return Pasting(axis(prob.shape[1], x0, x1, width), axis(prob.shape[0], y0, y1, height), prob)


def crop_size(box: Sequence[float], width: int, height: int) -> tuple[int, int]:
    """Return the width and height of a box's crop in an image of `width` × `height` pixels."""
    x0, y0, x1, y1 = box
    return axis(1, x0, x1, width).size, axis(1, y0, y1, height).size


def paste(prob: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> Crop:
    """Return the whole crop of `box` at once: see `pasting`."""
    begun = pasting(prob, box, width, height)
    columns = np.empty((begun.x.size, begun.y.size), np.bool_)
    for tile in begun.tiles():
        columns[tile.x, tile.y] = tile.columns
    return Crop(begun.x.start, begun.y.start, columns.T)


def paste_soft(prob: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> SoftCrop:
    """Return what `paste` compares with its threshold: `paste(…).bitmap == (paste_soft(…).probability >= 0.5)`."""
    begun = pasting(prob, box, width, height)
    probability = np.empty((begun.x.size, begun.y.size), np.float32)
    if probability.size:
        y = begun.y.places(0, begun.y.size)
        columns = max(1, _BLOCK // begun.y.size)
        across = _rimmed(prob).T.copy()
        for left in range(0, begun.x.size, columns):
            right = min(left + columns, begun.x.size)
            probability[left:right] = _interpolated(across, begun.x.places(left, right), y)
    return SoftCrop(begun.x.start, begun.y.start, probability.T)


# The cell at or before each pixel, and the weight of the next cell.
_Places = tuple[NDArray[np.intp], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class _Sampler:
    """A mask, turned so that its columns are contiguous, with the zeros that surround it.

    Like PointRend, this interpolates only where it is uncertain: between four mask cells on the same side of the
    threshold every pixel is on that side, too, so only pixels at the contour are interpolated.
    """

    across: NDArray[np.float32]  # [s + 2, s + 2]
    votes: NDArray[np.uint8]  # [s + 1, s + 1]: how many of the four cells around are foreground

    @classmethod
    def of(cls, prob: NDArray[np.float32]) -> _Sampler:
        across = _rimmed(prob).T.copy()
        inside = (across >= THRESHOLD).view(np.uint8)
        return cls(across, inside[:-1, :-1] + inside[:-1, 1:] + inside[1:, :-1] + inside[1:, 1:])

    def __call__(self, x: _Places, y: _Places) -> NDArray[np.bool_]:
        """Return the mask at the pixels of some columns: bool [columns, rows]."""
        first, last = int(x[0][0]), int(x[0][-1])
        votes = self.votes[first : last + 1].take(y[0], axis=1).take(x[0] - first, axis=0)
        uncertain = (votes & 3) > 0
        votes >>= 2  # the mask, with the uncertain pixels out
        mask = votes.view(np.bool_)
        places = np.flatnonzero(uncertain)
        if places.size > _DENSE * mask.size:
            mask |= uncertain & (_interpolated(self.across, x, y) >= THRESHOLD)
        elif places.size:
            column, row = np.divmod(places, mask.shape[1])
            mask.reshape(-1)[places] = _bilinear(self.across, x, y, column, row) >= THRESHOLD
        return mask


def _rimmed(prob: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mask with the zeros that surround it: [s + 2, s + 2]."""
    rimmed = np.zeros((prob.shape[0] + 2, prob.shape[1] + 2), np.float32)
    rimmed[1:-1, 1:-1] = prob
    return rimmed


def _interpolated(across: NDArray[np.float32], x: _Places, y: _Places) -> NDArray[np.float32]:
    """Return the values [columns, rows] of whole columns. Separable; the arithmetic of `_bilinear`."""
    first, last = int(x[0][0]), int(x[0][-1])
    part = across[first : last + 2]
    lines = part.take(y[0], axis=1)
    lines += y[1] * (part.take(y[0] + 1, axis=1) - lines)
    cell = x[0] - first
    values: NDArray[np.float32] = (lines[1:] - lines[:-1]).take(cell, axis=0)
    values *= x[1][:, None]
    values += lines.take(cell, axis=0)
    return values


def _bilinear(
    across: NDArray[np.float32], x: _Places, y: _Places, column: NDArray[np.intp], row: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the values at the pixels (column, row), each [n], interpolated along y first, then along x."""
    flat, stride = across.reshape(-1), across.shape[1]
    corner = x[0][column] * stride + y[0][row]
    weight = y[1][row]
    left: NDArray[np.float32] = flat[corner]
    right: NDArray[np.float32] = flat[corner + stride]
    left += weight * (flat[corner + 1] - left)
    right += weight * (flat[corner + stride + 1] - right)
    right -= left
    right *= x[1][column]
    right += left
    return right
