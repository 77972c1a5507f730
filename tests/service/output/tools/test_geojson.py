"""Format `geojson`, read by shapely."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from model.predict.headers.georeference import Georeference
from service.output.format import Found
from tests.service.output.tools.regions_of_noise import CASES, CATEGORIES, answer, bitmaps, classes, instances

NORTH_UP = Georeference(399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0, 32633)
DEGREES = Georeference(-12.5, 8.3e-5, 0.0, 47.1, 0.0, -8.3e-5, 4326)
TURNED = Georeference(5.0, 0.4, 0.3, 7.0, -0.3, 0.4, None)


def collection(case: Found) -> Any:
    import json

    return json.loads(answer(case, "geojson"))


def same(case: Found) -> None:
    """Features are valid polygons, and the pixels whose centres lie in one are its mask."""
    place = case.georeference or Georeference(0.0, 1.0, 0.0, 0.0, 0.0, 1.0, None)
    row, column = np.mgrid[0.5 : case.height, 0.5 : case.width]
    x = place.x0 + column * place.x_column + row * place.x_row
    y = place.y0 + column * place.y_column + row * place.y_row
    found = collection(case)
    assert found["coordinates"] == ("pixels" if case.georeference is None else "map")
    for feature, (index, bitmap) in zip(found["features"], bitmaps(case), strict=True):
        assert feature["properties"]["category"] == CATEGORIES[index].name
        assert feature["properties"]["area_pixels"] == bitmap.sum()
        if not bitmap.any():
            assert feature["geometry"] is None
            continue
        geometry = shape(feature["geometry"])
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        for polygon in getattr(geometry, "geoms", [geometry]):
            assert polygon.exterior.is_ccw and not any(ring.is_ccw for ring in polygon.interiors)
        np.testing.assert_array_equal(shapely.contains_xy(geometry, x, y), bitmap)


@settings(deadline=None, max_examples=40)
@given(*CASES, st.sampled_from([None, NORTH_UP, DEGREES, TURNED]))
def test_features_are_their_pixels(drawn: Any, width: int, height: int, place: Georeference | None) -> None:
    case = instances(drawn, width, height)
    object.__setattr__(case, "georeference", place)
    same(case)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_classes_are_their_pixels(width: int, height: int, seed: int) -> None:
    same(classes(width, height, seed))


@pytest.mark.parametrize(
    ("place", "name"), [(NORTH_UP, "EPSG::32633"), (DEGREES, "EPSG::4326"), (TURNED, None), (None, None)]
)
def test_the_reference_system_is_named_if_it_has_a_number(
    place: Georeference | None, name: str | None
) -> None:
    case = instances([], 10, 10)
    object.__setattr__(case, "georeference", place)
    found = collection(case)
    assert found["features"] == []
    assert ("crs" in found) == (name is not None)
    if name is not None:
        assert found["crs"]["properties"]["name"] == f"urn:ogc:def:crs:{name}"
