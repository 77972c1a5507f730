"""How a mask is written down: COCO run lengths and COCO polygons, straight from its crop.

Run lengths (`counts`) are int64 [n]: lengths of alternating runs, zeros first, down the columns of the
whole image, left to right. The image-sized bitmap is never made; only `decode` returns one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.masks.paste import Crop

Counts = NDArray[np.int64]

_CHUNK = 5  # bits per character of the compressed form; a sixth says that more follow
_ZERO = 48  # the character for 0
_MAX_CHARACTERS = 7  # 35 bits: more than a difference of two 32-bit counts needs


def encode(crop: Crop, width: int, height: int) -> Counts:
    """Run lengths of the crop within an image of `width` × `height` pixels."""
    h, w = crop.bitmap.shape
    columns = crop.bitmap.T
    edges = np.empty((w, h + 1), np.bool_)  # does a run start or end above this pixel of its column?
    if h:
        edges[:, 0], edges[:, h] = columns[:, 0], columns[:, -1]
        np.not_equal(columns[:, 1:], columns[:, :-1], out=edges[:, 1:h])
    else:
        edges[:] = False
    bounds = np.flatnonzero(edges)
    bounds += bounds // (h + 1) * (height - h - 1) + crop.left * height + crop.top
    joint = np.flatnonzero(bounds[1:] == bounds[:-1])  # a run over the image's lower edge goes on
    bounds = np.delete(bounds, np.concatenate((joint, joint + 1)))
    counts = np.diff(bounds, prepend=0, append=width * height)
    return counts[:-1] if counts[-1] == 0 and counts.size > 1 else counts


def encode_labels(labels: NDArray[np.uint8]) -> dict[int, Counts]:
    """Run lengths of every label that occurs in a label map [height, width]."""
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
    """COCO's compressed form, as pycocotools writes it.

    From the fourth on, a count is its difference to the count two before it; each number is split into
    5-bit chunks, lowest first, as few as its sign allows.
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
    """The inverse of `compress`. Raises ValueError if the text is no compressed run-length encoding."""
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
    """The whole mask, bool [height, width]. Raises ValueError if the counts fill another size."""
    if counts.sum() != width * height:
        raise ValueError(f"the runs cover {counts.sum()} pixels, not {width} × {height}")
    return np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(width, height).T


def area(counts: Counts) -> int:
    """Foreground pixels."""
    return int(counts[1::2].sum())


def bounding_box(counts: Counts, height: int) -> tuple[int, int, int, int]:
    """The tight (x, y, width, height) in pixels; all zero for an empty mask."""
    ends = np.cumsum(counts)
    start, stop = ends[:-1:2], ends[1::2]
    start, stop = start[start < stop], stop[start < stop] - 1
    if not start.size:
        return 0, 0, 0, 0
    left, right = int(start[0] // height), int(stop[-1] // height)
    if (start // height < stop // height).any():  # from one column into the next: from edge to edge
        top, bottom = 0, height - 1
    else:
        top, bottom = int((start % height).min()), int((stop % height).max())
    return left, top, right - left + 1, bottom - top + 1


def polygons(crop: Crop) -> list[list[int]]:
    """COCO polygons [x0, y0, x1, y1, …] along the edges of the crop's pixels, in image pixels.

    One ring for each 4-connected component, clockwise as displayed, corners only. COCO polygons have no
    holes (several rings are their union), so holes are cut in: where a hole lies below an edge, the ring
    leaves it down a bridge of no width, walks around the hole the other way and comes back. Rasterised,
    the rings give the mask again.
    """
    x, y, below = _corners(crop.bitmap)
    rings = _trace(below)
    outer = [bool(crop.bitmap[y[ring[0]], x[ring[0]]]) for ring in rings]
    firsts = [ring[0] for ring, out in zip(rings, outer, strict=True) if not out]
    bridges = _bridges(crop.bitmap, x, y, firsts)

    points = list(zip((x + crop.left).tolist(), (y + crop.top).tolist(), strict=True))
    holes: dict[int, list[tuple[int, int]]] = {}  # by first corner
    result = []
    for ring, out in zip(reversed(rings), reversed(outer), strict=True):  # lower holes before their hosts
        walk = ring if out else ring[:1] + ring[:0:-1]
        path: list[tuple[int, int]] = []
        for corner, following in zip(walk, walk[1:] + walk[:1], strict=True):
            path.append(points[corner])
            if corner ^ 1 == following and (hanging := bridges.get(corner & ~1)):
                for hole in sorted(hanging, key=points.__getitem__, reverse=following < corner):
                    foot = (points[hole][0], points[corner][1])
                    path += [foot, *holes.pop(hole), foot]
        if out:
            distinct = (p for p, before in zip(path, path[-1:] + path, strict=False) if p != before)
            result.append([value for point in distinct for value in point])
        else:
            holes[ring[0]] = [*path, path[0]]
    return result[::-1]


def _corners(bitmap: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Corners of the boundary, row by row: x, y, and the other end of each one's vertical edge, each [n].

    Along a row, boundary edges run from corner to corner, so corners 2i and 2i + 1 share a horizontal
    edge; likewise down each column. Where two pixels touch diagonally there are two corners, one for
    each pixel.
    """
    padded = np.pad(bitmap, 1)
    left, right = padded[:, :-1], padded[:, 1:]
    change = left ^ right
    saddle = change[:-1] & change[1:] & (left[:-1] ^ left[1:])
    y, x = np.nonzero(change[:-1] ^ change[1:] | saddle)
    copies = 1 + saddle[y, x]
    y, x = np.repeat(y, copies), np.repeat(x, copies)
    index = np.arange(x.size)
    # The first copy ends the edge from the left. It ends the one from above too, unless the two pixels
    # are the upper right and the lower left one.
    swap = saddle[y, x] & padded[y, x + 1]
    order = np.lexsort((np.where(swap, -index, index), y, x))
    below = np.empty_like(order)
    below[order[::2]], below[order[1::2]] = order[1::2], order[::2]
    return x, y, below


def _trace(below: NDArray[np.intp]) -> list[list[int]]:
    """Rings of corners, each from its uppermost, then leftmost corner, first to the right."""
    vertical, seen = below.tolist(), bytearray(below.size)
    rings: list[list[int]] = []
    for first in range(below.size):
        if not seen[first]:
            ring: list[int] = []
            corner = first
            while not ring or corner != first:
                ring += [corner, corner ^ 1]
                corner = vertical[corner ^ 1]
            for corner in ring:
                seen[corner] = 1
            rings.append(ring)
    return rings


def _bridges(
    bitmap: NDArray[np.bool_], x: NDArray[np.intp], y: NDArray[np.intp], holes: list[int]
) -> dict[int, list[int]]:
    """Which holes, by first corner, hang on which horizontal edge, by left corner.

    It is the nearest edge straight above the hole's first corner; it may be another hole's.
    """
    stride = bitmap.shape[1] + 1
    edges = y[::2] * stride + x[::2]
    hanging: dict[int, list[int]] = {}
    for hole in holes:
        above = bitmap[: y[hole], x[hole] - 1 : x[hole] + 1]
        gaps = np.flatnonzero(~(above[:, 0] & above[:, 1]))
        top = int(gaps[-1]) + 1 if gaps.size else 0
        edge = int(np.searchsorted(edges, top * stride + x[hole], side="right")) - 1
        hanging.setdefault(2 * edge, []).append(hole)
    return hanging
