"""Encode masks as COCO polygons, directly from their runs."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.masks.corners import Corners, corners
from model.masks.rings import Rings, trace
from model.masks.runs import Check, Runs, nothing

_PART = 1 << 15  # corners that are treated at a time


@dataclass(frozen=True, eq=False)
class Outlines:
    """Closed rings, one after the other: `points` are int32 [n, 2] (x, y), and ring i ends before point `stops[i]`."""

    points: NDArray[np.int32]
    stops: Sequence[int]

    def tolist(self) -> list[list[int]]:
        """Return the rings as COCO has them, [x0, y0, x1, y1, …]."""
        starts = [0, *self.stops[:-1]]
        return [self.points[a:b].ravel().tolist() for a, b in zip(starts, self.stops, strict=False)]


def polygons(runs: Runs, check: Check = nothing, most: int | None = None) -> Outlines:
    """Return COCO polygons along the edges of the mask's pixels, in image pixels. Raise TooDetailed as `corners` does.

    There is one ring for each 4-connected component, clockwise as displayed, with its corners only. COCO polygons have
    no holes, because several rings are their union, so holes are cut in: where a hole lies below an edge, the ring
    follows a bridge of no width down to the hole, goes around it in the other direction and returns. Rasterising the
    rings gives the mask again.
    """
    found = corners(runs, check, most)
    rings = trace(found, check)
    outer = found.inside[rings.firsts]
    cuts, feet = _cuts(found, runs, rings, outer)
    path, stops = array("i"), []
    for ring in np.flatnonzero(outer).tolist():
        check()
        for piece in _pieces(rings, cuts, ring):
            path.extend(piece)
        stops.append(len(path))
    x = np.concatenate((found.x, found.x[feet[0]]))
    y = np.concatenate((found.y, found.y[feet[1]]))
    return _outlines(x, y, np.frombuffer(path, np.int32), stops, runs)


@dataclass(frozen=True)
class _Cut:
    """Where a ring goes down to a hole: after `place` corners of its own walk."""

    place: int
    foot: int  # the point straight above the hole's first corner
    hole: int  # ring


def _cuts(
    found: Corners, runs: Runs, rings: Rings, outer: NDArray[np.bool_]
) -> tuple[dict[int, list[_Cut]], NDArray[np.int64]]:
    """Return the cuts of each ring that has some, in the order of its walk, and the corners of feet [2, n].

    A hole is bridged to the nearest edge straight above its first corner, which may be another hole's. Its foot has
    the x of the hole's first corner and the y of that edge's corner: points that are no corners, numbered after them.
    """
    holes = np.flatnonzero(~outer)
    firsts = rings.firsts[holes].astype(np.int64)
    x, y = found.x[firsts].astype(np.int64), found.y[firsts].astype(np.int64)
    column = runs.height + 1
    tops = [
        runs.ends[np.searchsorted(runs.ends, c * column + y - 1, "right") - 1] - c * column
        for c in (x - 1, x)
    ]
    stride = runs.width + 1
    edges = found.y[::2].astype(np.int64) * stride + found.x[::2]
    edge = np.searchsorted(edges, np.maximum(*tops) * stride + x, "right") - 1
    places = np.empty(found.x.size, np.int64)
    places[np.frombuffer(rings.walk, np.int32)] = np.arange(found.x.size)
    entry = np.minimum(places[2 * edge], places[2 * edge + 1])  # of the edge, in the rings' walk
    host = np.searchsorted(rings.stops, entry, "right")
    leftwards = places[2 * edge] != entry
    # A hole is walked backwards: from its first corner to its last, and on to its second.
    begin = np.concatenate(([0], rings.stops))[host]
    done = np.where(outer[host], entry - begin + 1, rings.stops[host] - entry)
    backwards = leftwards == outer[host]
    order = np.lexsort((np.where(backwards, -x, x), done, host))
    cuts: dict[int, list[_Cut]] = {}
    rows = (host, done, np.arange(holes.size) + found.x.size, holes)
    for ring, place, foot, hole in zip(*(row[order].tolist() for row in rows), strict=True):
        cuts.setdefault(ring, []).append(_Cut(place, foot, hole))
    return cuts, np.stack((firsts, 2 * edge))


def _pieces(rings: Rings, cuts: dict[int, list[_Cut]], ring: int) -> Iterator[Sequence[int]]:
    """Return the points of an outer ring with all holes that hang on it, and on these, piece by piece."""
    walk = rings.walk[rings.start(ring) : int(rings.stops[ring])]
    open_rings = [(walk, iter(cuts.get(ring, ())), 0)]
    feet: list[int] = []
    while open_rings:
        walk, rest, done = open_rings.pop()
        cut = next(rest, None)
        if cut is None:
            yield walk[done:]
            if open_rings:  # the hole is closed, and its bridge leads back
                yield (walk[0], feet.pop())
            continue
        yield walk[done : cut.place]
        yield (cut.foot,)
        feet.append(cut.foot)
        open_rings.append((walk, rest, cut.place))
        start, stop = rings.start(cut.hole), int(rings.stops[cut.hole])
        hole = rings.walk[start : start + 1] + rings.walk[start + 1 : stop][::-1]
        open_rings.append((hole, iter(cuts.get(cut.hole, ())), 0))


def _outlines(
    x: NDArray[np.int32], y: NDArray[np.int32], path: NDArray[np.int32], stops: Sequence[int], runs: Runs
) -> Outlines:
    """Return the rings of points without those that equal the point before them; a ring's first follows its last."""
    ends = np.array(stops, np.int64)
    before = np.empty_like(path)
    before[1:] = path[:-1]
    before[np.concatenate(([0], ends))[:-1]] = path[ends - 1]
    kept, parts = np.zeros(path.size + 1, np.int64), []
    for start in range(0, path.size, _PART):
        here, past = path[start : start + _PART], before[start : start + _PART]
        moved = (x[here] != x[past]) | (y[here] != y[past])
        kept[start + 1 : start + 1 + here.size] = moved
        here = here[moved]
        parts.append(np.stack((x[here] + runs.left, y[here] + runs.top), axis=1).astype(np.int32))
    counts = np.cumsum(kept)[ends]
    return Outlines(np.concatenate(parts) if parts else np.empty((0, 2), np.int32), counts.tolist())
