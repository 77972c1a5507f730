"""Where the pixels of a box lie among the cells of its mask, along one axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HALF = np.float32(0.5)


@dataclass(frozen=True)
class Axis:
    """The pixels of a crop along one axis. What belongs to each is computed on demand: there may be millions."""

    start: int  # first pixel of the crop
    size: int  # pixels of the crop
    side: int  # cells of the mask
    low: np.float32  # ends of the box
    high: np.float32

    def places(
        self, first: int, last: int, offset: np.float32 | NDArray[np.float32] = _HALF
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return, for each of the crop's pixels first…last - 1, the cell at or before a place in it.

        The second array has the weight of the next cell. The place is the pixel's centre unless another offset from its
        left or upper edge is given, or an array of offsets that is broadcast against the pixels. Cells are those of the
        mask with a rim around it, so 0…side.
        """
        # float32 and this order of operations, as the reference: a centre on the very edge decides alike.
        place = np.arange(self.start + first, self.start + last).astype(np.float32) + offset
        grid = (place - self.low) / max(self.high - self.low, np.finfo(np.float32).tiny) * 2 - 1
        position = ((grid + 1) * self.side - 1) / 2 + 1
        cell = np.clip(np.floor(position).astype(np.intp), 0, self.side)
        return cell, np.clip(position - cell.astype(np.float32), 0, 1)


def axis(side: int, low: float, high: float, length: int) -> Axis:
    """Return the axis of a mask of `side` cells whose box reaches from `low` to `high` in an image of `length`.

    The crop's pixels are those whose centre lies in the box.
    """
    lo, hi = np.float32(low), np.float32(high)
    start = max(0, int(np.ceil(lo - _HALF)))
    stop = min(length, int(np.floor(hi - _HALF)) + 1) if hi > lo else start
    return Axis(start, max(0, stop - start), side, lo, hi)


def touched(side: int, low: float, high: float, length: int) -> Axis:
    """Return the axis of a mask as `axis` does, but with every pixel that the box overlaps."""
    lo, hi = np.float32(low), np.float32(high)
    start = min(max(0, int(np.floor(lo))), length)
    stop = min(length, int(np.ceil(hi))) if hi > lo else start
    return Axis(start, max(0, stop - start), side, lo, hi)
