"""Polygons by a plain walk over the bitmap of a crop: slow, and the same rings as model/masks/polygon.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.masks.paste import Crop


def polygons(crop: Crop) -> list[list[int]]:
    """Return COCO polygons [x0, y0, x1, y1, …] along the edges of the crop's pixels, in image pixels.

    There is one ring for each 4-connected component, clockwise as displayed, with its corners only. COCO polygons have
    no holes, because several rings are their union, so holes are cut in: where a hole lies below an edge, the ring
    follows a bridge of no width down to the hole, goes around it in the other direction and returns. Rasterising the
    rings gives the mask again.
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
    """Return the corners of the boundary, row by row: x, y, and the other end of each one's vertical edge, each [n].

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
    """Return the rings of corners. Each begins at its uppermost, then leftmost corner, and first goes right."""
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
    """Return for horizontal edges, by left corner, the holes that are bridged to them, by first corner.

    A hole is bridged to the nearest edge straight above its first corner, which may be another hole's.
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
