"""A mask as the ends of its runs down the columns of its crop, from which run lengths and polygons follow.

Their number grows with the length of the contour, not with the crop's area, and no bitmap of the crop is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.masks.paste import Crop, Pasting

# Called every few milliseconds of work; raises to give up.
Check = Callable[[], None]


class TooDetailed(ValueError):
    """A mask, or a label map, has more runs or corners than its caller allows."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a mask in its crop of `width` × `height` pixels.

    Column x begins at place x·(height + 1), so that no run goes on into the next column. `ends` are the places where a
    run begins, and where it has ended, in turns: int64 [2n], ascending.
    """

    left: int
    top: int
    width: int
    height: int
    ends: NDArray[np.int64]

    @property
    def area(self) -> int:
        """The number of foreground pixels."""
        return int(self.ends[1::2].sum() - self.ends[::2].sum())


def nothing() -> None:
    """Never give up (see `Check`)."""


def runs_of(crop: Crop) -> Runs:
    """Return the runs of a crop."""
    height, width = crop.bitmap.shape
    padded = np.zeros((width, height + 1), np.bool_)
    padded[:, :height] = crop.bitmap.T
    return Runs(crop.left, crop.top, width, height, _ends([padded.reshape(-1)], nothing, None))


def pasted(pasting: Pasting, check: Check = nothing, most: int | None = None) -> Runs:
    """Return the runs of a crop that is yet to be computed, tile by tile.

    Raise TooDetailed if it has more than `most`.
    """
    height = pasting.y.size
    parts = (
        np.pad(tile.columns, ((0, 0), (0, int(tile.y.stop == height)))).reshape(-1)
        for tile in pasting.tiles()
    )
    return Runs(pasting.x.start, pasting.y.start, pasting.x.size, height, _ends(parts, check, most))


def _ends(parts: Iterable[NDArray[np.bool_]], check: Check, most: int | None) -> NDArray[np.int64]:
    """Return where the value changes in the sequence of all parts, which begins after False and ends with it."""
    found: list[NDArray[np.int64]] = []
    place, count, before = 0, 0, False
    for part in parts:
        check()
        if part.size:
            changes = np.empty(part.size, np.bool_)
            changes[0] = part[0] != before
            np.not_equal(part[1:], part[:-1], out=changes[1:])
            ends = np.flatnonzero(changes)
            ends += place
            found.append(ends)
            place, count, before = place + part.size, count + ends.size, bool(part[-1])
            if most is not None and count > 2 * most:
                raise TooDetailed(f"a mask has more than {most} runs")
    return np.concatenate(found) if found else np.empty(0, np.int64)
