"""COCO's compressed run lengths: down the columns of a picture, outside first, then inside, and so on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def run_lengths(text: str) -> NDArray[np.int64]:
    """Return the lengths of the runs.

    Each is written in chunks of five bits, the lowest first, a character each: bit 5 says that another chunk follows,
    bit 4 of the last one is the sign. From the fourth on, a length is written as its difference to the one two before.
    """
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    is_last = codes < 32
    ends = np.flatnonzero(is_last) + 1
    begins = np.concatenate(([0], ends[:-1]))
    place = np.arange(codes.size) - np.repeat(begins, ends - begins)
    numbers = np.add.reduceat((codes & 31) << 5 * place, begins)
    is_negative = (codes[ends - 1] & 16) > 0
    numbers -= is_negative.astype(np.int64) << 5 * (ends - begins)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def decoded(text: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask [height, width] of a picture of this size, height and width."""
    height, width = size
    lengths = run_lengths(text)
    return np.repeat(np.arange(lengths.size) % 2 == 1, lengths).reshape(width, height).T


@dataclass(frozen=True)
class CroppedRuns:
    """A mask within the smallest box that has all of it: run lengths down the columns of the box, outside first.

    Of a mask without pixels, the box is the picture's first pixel.
    """

    left: int
    top: int
    width: int
    height: int
    lengths: NDArray[np.int32]

    @property
    def bitmap(self) -> NDArray[np.bool_]:
        """The pixels of the box, [height, width]."""
        inside = np.arange(self.lengths.size) % 2 == 1
        return np.repeat(inside, self.lengths).reshape(self.width, self.height).T


def cropped(text: str, size: tuple[int, int]) -> CroppedRuns:
    """Return a mask's runs within its smallest box. A bitmap is never made."""
    height = size[0]
    lengths = run_lengths(text)
    ends = np.cumsum(lengths)
    starts, stops = ends[: lengths.size // 2 * 2 : 2], ends[1::2]
    some = stops > starts
    starts, stops = starts[some], stops[some]
    if not starts.size:
        return CroppedRuns(0, 0, 1, 1, np.array([1], np.int32))
    first_column, first_row = np.divmod(starts, height)
    last_column, last_row = np.divmod(stops - 1, height)
    left, right = int(first_column[0]), int(last_column[-1])
    # A run that goes on in the next column has the last row of one and the first row of the other.
    over = bool((last_column > first_column).any())
    top, bottom = (0, height - 1) if over else (int(first_row.min()), int(last_row.max()))
    rows = bottom - top + 1
    starts = (first_column - left) * rows + first_row - top
    stops = (last_column - left) * rows + last_row - top + 1
    apart = starts[1:] > stops[:-1]  # runs that touch in the box become one
    starts, stops = starts[np.append(True, apart)], stops[np.append(apart, True)]
    edges = np.append(np.stack((starts, stops), 1).ravel(), (right - left + 1) * rows)
    lengths = np.diff(edges, prepend=0)
    return CroppedRuns(
        left, top, right - left + 1, rows, lengths[: lengths.size - (lengths[-1] == 0)].astype(np.int32)
    )
