"""Encode masks as COCO run lengths, directly from their runs in their crops.

Run lengths (`counts`) are int64 [n]: the lengths of alternating runs, zeros first, down the columns of the whole image,
from left to right. No bitmap of the image's size is made; only `decode` returns one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.masks.paste import Crop
from model.masks.runs import Check, Runs, TooDetailed, nothing, runs_of

Counts = NDArray[np.int64]

_CHUNK = 5  # Bits per character of the compressed form. A sixth bit says that more follow.
_ZERO = 48  # the character for 0
_CELLS = 1 << 18  # of a label map that are treated at a time, as far as whole columns allow
_PART = 1 << 15  # numbers that are compressed at a time
_MAX_CHARACTERS = 7  # 35 bits: more than a difference of two 32-bit counts needs


def encode(crop: Crop, width: int, height: int) -> Counts:
    """Return the run lengths of the crop within an image of `width` × `height` pixels."""
    return counts_of(runs_of(crop), width, height)


def counts_of(runs: Runs, width: int, height: int) -> Counts:
    """Return the run lengths of a mask within an image of `width` × `height` pixels."""
    column = runs.height + 1
    ends = runs.ends // column
    ends *= height - column
    ends += runs.ends
    ends += runs.left * height + runs.top
    # Where ends are equal, a run goes on from the lower edge of one column into the next.
    joint = ends[1:] == ends[:-1]
    kept = np.ones(ends.size, np.bool_)
    kept[1:][joint] = kept[:-1][joint] = False
    counts = np.diff(ends[kept], prepend=0, append=width * height)
    return counts[:-1] if counts[-1] == 0 and counts.size > 1 else counts


def runs_of_counts(counts: Counts, width: int, height: int) -> Runs:
    """Return the runs of a whole image's mask, given as its run lengths: the inverse of `counts_of`."""
    bounds = np.cumsum(counts)
    starts, stops = bounds[:-1:2], bounds[1::2]
    # A run that goes on into further columns becomes one for each of them.
    first = starts // height
    columns = (stops - 1) // height - first + 1
    run = np.repeat(np.arange(starts.size), columns)
    column = np.arange(run.size) - np.repeat(np.cumsum(columns) - columns, columns) + first[run]
    begins = np.maximum(starts[run], column * height) + column  # a column has one place more than pixels
    ends = np.minimum(stops[run], (column + 1) * height) + column
    return Runs(0, 0, width, height, np.stack([begins, ends], axis=1).ravel())


def encode_labels(
    labels: NDArray[np.uint8], check: Check = nothing, most: int | None = None
) -> dict[int, Counts]:
    """Return the run lengths of every label that occurs in a label map [height, width], in the order of labels.

    Raise TooDetailed if it has more than `most` runs.
    """
    starts, values = _label_runs(labels, check, most)
    found = {}
    for label in np.flatnonzero(np.bincount(values)).tolist():
        check()
        mine = np.flatnonzero(values == label)
        bounds = np.stack([starts[mine], starts[mine + 1]], axis=1).ravel()
        counts = np.diff(bounds, prepend=0, append=labels.size)
        found[label] = counts[:-1] if counts[-1] == 0 else counts
    return found


def _label_runs(
    labels: NDArray[np.uint8], check: Check, most: int | None
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return where runs begin down the columns, and the number of cells after them, and the label of each run."""
    height, width = labels.shape
    columns = max(1, _CELLS // height)
    starts, values, count, before = [], [], 0, -1
    for left in range(0, width, columns):
        check()
        part = labels[:, left : left + columns].ravel(order="F")
        begins = np.flatnonzero(part[1:] != part[:-1]) + 1
        if part[0] != before:
            begins = np.append(0, begins)
        starts.append(begins + left * height)
        values.append(part[begins])
        before = part[-1]
        count += begins.size
        if most is not None and count > most:
            raise TooDetailed(f"a label map has more than {most} runs")
    return np.concatenate([*starts, [labels.size]]), np.concatenate(values)


def compress(counts: Counts) -> str:
    """Return COCO's compressed form, as pycocotools writes it.

    From the fourth on, a count is stored as its difference to the count two before it. Each number is split into as few
    5-bit chunks as its sign allows, lowest first.
    """
    numbers = counts.astype(np.int64)
    numbers[3:] -= counts[1:-2]
    return "".join(_characters(numbers[i : i + _PART]) for i in range(0, numbers.size, _PART))


def _characters(rest: Counts) -> str:
    """Return the characters of some numbers, which are overwritten."""
    characters = np.zeros((rest.size, _MAX_CHARACTERS), np.uint8)
    pending = np.arange(rest.size)
    for position in range(_MAX_CHARACTERS):
        chunk = rest & 31
        rest >>= _CHUNK
        more = rest != -(chunk >> 4)  # what is left differs from the sign that the chunk implies
        characters[pending, position] = chunk + (more << _CHUNK) + _ZERO
        pending, rest = pending[more], rest[more]
    return characters[characters > 0].tobytes().decode("ascii")


def decompress(text: str) -> Counts:
    """Return the counts of COCO's compressed form. Raise ValueError if the text is not in that form."""
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - _ZERO
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] > 31:
        raise ValueError("not a compressed run-length encoding")
    last = np.flatnonzero(codes < 32)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > _MAX_CHARACTERS:
        raise ValueError("a run of the encoding is longer than any image")
    shift = _CHUNK * (np.arange(codes.size) - np.repeat(first, length))
    counts = np.add.reduceat((codes & 31) << shift, first)
    counts -= ((codes[last] & 16) > 0).astype(np.int64) << (_CHUNK * length)
    for parity in (1, 2):
        counts[parity::2] = np.cumsum(counts[parity::2])
    if counts.min() < 0:
        raise ValueError("a run of the encoding is shorter than nothing")
    return counts


def decode(counts: Counts, width: int, height: int) -> NDArray[np.bool_]:
    """Return the whole mask, bool [height, width]. Raise ValueError if the counts cover another number of pixels."""
    if counts.sum() != width * height:
        raise ValueError(f"the runs cover {counts.sum()} pixels, not {width} × {height}")
    return np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(width, height).T


def area(counts: Counts) -> int:
    """Return the number of foreground pixels."""
    return int(counts[1::2].sum())
