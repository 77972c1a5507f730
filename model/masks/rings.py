"""The closed rings along the edges of a mask's pixels: as they are traced, and as polygons with holes."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.masks.corners import Corners, corners
from model.masks.runs import Check, Runs, nothing

_PART = 1 << 15  # corners that are treated at a time


@dataclass(frozen=True, eq=False)
class Rings:
    """The closed walks along all edges. Each begins at its uppermost, then leftmost corner, and first goes right."""

    walk: array[int]  # corners, ring after ring
    stops: NDArray[np.int64]  # [rings]
    firsts: NDArray[np.int32]  # [rings]: the first corners

    def start(self, ring: int) -> int:
        """Return where a ring begins in the walk."""
        return int(self.stops[ring - 1]) if ring else 0


@dataclass(frozen=True, eq=False)
class HoledPolygons:
    """Polygons with holes, as closed rings one after the other: a polygon's outer ring, then its holes.

    Outer rings go clockwise as displayed, holes the other way. The last point of a ring is its first one. No ring
    touches itself, and a hole touches other rings of its polygon in single points at most.
    """

    points: NDArray[np.int32]  # [n, 2] x and y in image pixels
    ring_stops: NDArray[np.int64]  # [rings]: the point after each ring's last
    polygon_stops: NDArray[np.int64]  # [polygons]: the point after each polygon's last


def trace(found: Corners, check: Check) -> Rings:
    """Return the rings along all edges, in the order of their first corners."""
    below, seen = _array(found.below), bytearray(found.x.size // 2)
    lefts, stops = array("i"), []  # the corner at which each horizontal edge is entered
    steps = 0
    edge = seen.find(0)
    while edge >= 0:
        first = corner = 2 * edge
        while True:
            lefts.append(corner)
            seen[corner >> 1] = 1
            corner = below[corner ^ 1]
            if corner == first:
                break
            steps += 1
            if not steps % _PART:
                check()
        stops.append(len(lefts))
        edge = seen.find(0, edge + 1)
    entered = np.frombuffer(lefts, np.int32)
    walk = np.stack((entered, entered ^ 1), axis=1)
    ends = np.array(stops, np.int64)
    firsts = entered[np.concatenate(([0], ends[:-1]))] if stops else entered
    return Rings(_array(walk.reshape(-1)), 2 * ends, firsts)


def holed_polygons(runs: Runs, check: Check = nothing, most: int | None = None) -> HoledPolygons:
    """Return a polygon for each 4-connected component of a mask. Raise TooDetailed as `corners` does.

    The polygons are valid by the rules of OGC's simple features.
    """
    found = corners(runs, check, most)
    if not found.x.size:
        none = np.empty(0, np.int64)
        return HoledPolygons(np.empty((0, 2), np.int32), none, none)
    found = _separated(found, trace(found, check))
    rings = trace(found, check)
    check()
    return _polygons(found, runs, rings, check)


def _separated(found: Corners, rings: Rings) -> Corners:
    """Return the corners with edges connected in the other way where a ring touches itself.

    There it falls apart into two rings, which touch in that point: an outer ring into one and a hole, a hole into two.
    """
    owner = _owners(rings, found)
    again = np.flatnonzero(
        (found.x[1:] == found.x[:-1]) & (found.y[1:] == found.y[:-1]) & (owner[1:] == owner[:-1])
    )
    swap = np.arange(found.x.size, dtype=np.int32)
    swap[again], swap[again + 1] = again + 1, again
    return replace(found, below=swap[found.below[swap]])


def _owners(rings: Rings, found: Corners) -> NDArray[np.int64]:
    """Return the ring of each corner."""
    owner = np.empty(found.x.size, np.int64)
    lengths = np.diff(rings.stops, prepend=0)
    owner[np.frombuffer(rings.walk, np.int32)] = np.repeat(np.arange(rings.stops.size), lengths)
    return owner


def _polygons(found: Corners, runs: Runs, rings: Rings, check: Check) -> HoledPolygons:
    outer = found.inside[rings.firsts]
    polygon = _outer_rings(found, runs, rings, outer)
    order = np.lexsort((np.arange(outer.size), ~outer, polygon))
    check()
    lengths = np.diff(rings.stops, prepend=0)[order]
    ring_stops = np.cumsum(lengths + 1)
    starts = ring_stops - lengths - 1
    # The place in its ring of each point. A hole is walked backwards from its first corner, to which all return.
    place = np.arange(int(ring_stops[-1])) - np.repeat(starts, lengths + 1)
    length = np.repeat(lengths, lengths + 1)
    place = np.where(np.repeat(outer[order], lengths + 1), place, length - place) % length
    check()
    place += np.repeat((rings.stops[order] - lengths), lengths + 1)
    corner = np.frombuffer(rings.walk, np.int32)[place]
    points = np.stack((found.x[corner] + runs.left, found.y[corner] + runs.top), axis=1).astype(np.int32)
    last = np.flatnonzero(np.diff(polygon[order], append=-1))  # the last ring of each polygon
    return HoledPolygons(points, ring_stops, ring_stops[last])


def _outer_rings(found: Corners, runs: Runs, rings: Rings, outer: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the outer ring that each ring belongs to.

    The pixel above a hole's first edge is of its component, and so is the edge on top of that pixel's run. This is an
    edge of the outer ring, or of another hole further up, which belongs to the same outer ring.
    """
    holes = np.flatnonzero(~outer)
    firsts = rings.firsts[holes]
    x, y = found.x[firsts].astype(np.int64), found.y[firsts].astype(np.int64)
    column, stride = runs.height + 1, runs.width + 1
    tops = runs.ends[np.searchsorted(runs.ends, x * column + y - 1, "right") - 1] - x * column
    edges = found.y[::2].astype(np.int64) * stride + found.x[::2]
    edge = np.searchsorted(edges, tops * stride + x, "right") - 1
    belongs = np.arange(outer.size)
    belongs[holes] = _owners(rings, found)[2 * edge]
    while not outer[belongs].all():
        belongs = belongs[belongs]
    return belongs


def _array(values: NDArray[np.int32]) -> array[int]:
    """Return the values in an array, whose items are read faster; in parts, because copying them stops all threads."""
    result = array("i")
    for start in range(0, values.size, _PART):
        result.frombytes(values[start : start + _PART].tobytes())
    return result
