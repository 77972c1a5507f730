"""COCO's compressed run lengths: down the columns of a picture, outside first, then inside, and so on."""

from __future__ import annotations

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
