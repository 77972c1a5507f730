"""Outlines with fewer corners."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely import LinearRing, Point

from model.masks import simplify
from model.masks.paste import Crop
from model.masks.polygon import polygons
from model.masks.runs import runs_of
from model.masks.simplify import simplified


def outline(bitmap: NDArray[np.bool_]) -> NDArray[np.int32]:
    return polygons(runs_of(Crop(0, 0, bitmap))).points


def disc(radius: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[: 2 * radius, : 2 * radius] + 0.5 - radius
    return np.asarray(x**2 + y**2 < radius**2)


def distance(ring: NDArray[np.int32], kept: NDArray[np.int32]) -> float:
    line = LinearRing(kept)
    return max(line.distance(Point(*corner)) for corner in ring)


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_a_disc_has_fewer_corners_within_the_tolerance(tolerance: float) -> None:
    ring = outline(disc(60))
    kept = simplified(ring, tolerance)
    assert distance(ring, kept) <= tolerance + 1e-9
    assert len(kept) < (len(ring) if tolerance < 1 else len(ring) / 4)
    # What is left are corners of the outline, in their order.
    places = [ring.tolist().index(corner) for corner in kept.tolist()]
    assert places == sorted(places)


def test_more_tolerance_leaves_fewer_corners() -> None:
    ring = outline(disc(60))
    counts = [len(simplified(ring, tolerance)) for tolerance in (0.0, 1.0, 2.0, 5.0)]
    assert counts == sorted(counts, reverse=True) and counts[0] == len(ring)


def test_small_and_long_rings_stay_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    square = outline(np.ones((1, 1), np.bool_))
    assert simplified(square, 5.0).tolist() == square.tolist()
    ring = outline(disc(30))
    usual = len(simplified(ring, 1.0))
    monkeypatch.setattr(simplify, "_PIECE", 16)
    kept = simplified(ring, 1.0)
    assert usual <= len(kept) < len(ring)
    assert distance(ring, kept) <= 1
    assert {tuple(each) for each in ring[::16].tolist()} <= {tuple(each) for each in kept.tolist()}


def test_it_ends_when_the_client_has_left() -> None:
    def check() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        simplified(outline(disc(30)), 1.0, check)
