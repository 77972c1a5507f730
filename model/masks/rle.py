"""Encode masks as COCO run lengths, directly from their crops.

Run lengths (`counts`) are int64 [n]: the lengths of alternating runs, zeros first, down the columns of the whole image,
from left to right. No bitmap of the image's size is made; only `decode` returns one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.masks.paste import Crop

Counts = NDArray[np.int64]

_CHUNK = 5  # Bits per character of the compressed form. A sixth bit says that more follow.
_ZERO = 48  # the character for 0
_MAX_CHARACTERS = 7  # 35 bits: more than a difference of two 32-bit counts needs


def encode(crop: Crop, width: int, height: int) -> Counts:
    """Return the run lengths of the crop within an image of `width` × `height` pixels."""
    h, w = crop.bitmap.shape
    columns = crop.bitmap.T
    edges = np.empty((w, h + 1), np.bool_)  # whether a run starts or ends above this pixel of its column
    if h:
        edges[:, 0], edges[:, h] = columns[:, 0], columns[:, -1]
        np.not_equal(columns[:, 1:], columns[:, :-1], out=edges[:, 1:h])
    else:
        edges[:] = False
    bounds = np.flatnonzero(edges)
    bounds += bounds // (h + 1) * (height - h - 1) + crop.left * height + crop.top
    # Where bounds are equal, a run goes on from the lower edge of one column into the next.
    joint = np.flatnonzero(bounds[1:] == bounds[:-1])
    bounds = np.delete(bounds, np.concatenate((joint, joint + 1)))
    counts = np.diff(bounds, prepend=0, append=width * height)
    return counts[:-1] if counts[-1] == 0 and counts.size > 1 else counts


def encode_labels(labels: NDArray[np.uint8]) -> dict[int, Counts]:
    """Return the run lengths of every label that occurs in a label map [height, width]."""
    flat = labels.ravel(order="F")
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    starts = np.append(0, ends[:-1])
    values = flat[starts]
    found = {}
    for label in np.unique(values).tolist():
        mine = values == label
        bounds = np.stack([starts[mine], ends[mine]], axis=1).ravel()
        counts = np.diff(bounds, prepend=0, append=flat.size)
        found[label] = counts[:-1] if counts[-1] == 0 else counts
    return found


def compress(counts: Counts) -> str:
    """Return COCO's compressed form, as pycocotools writes it.

    From the fourth on, a count is stored as its difference to the count two before it. Each number is split into as few
    5-bit chunks as its sign allows, lowest first.
    """
    rest = counts.astype(np.int64)
    rest[3:] -= counts[1:-2]
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
