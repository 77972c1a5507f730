"""Formats of other tools over HTTP: their media types, and the place of a GeoTIFF."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from shapely.geometry import shape

from tests.model.predict.headers.test_georeference import SCALE, TIE, UTM, geotiff
from tests.service.support import encoded, picture


@pytest.mark.parametrize(
    ("format", "media_type"),
    [
        ("yolo", "text/plain; charset=utf-8"),
        ("geojson", "application/geo+json"),
        ("label_studio", "application/json"),
        ("label_studio_polygon", "application/json"),
        ("cvat", "application/json"),
    ],
)
def test_answers_have_their_media_type(client: TestClient, format: str, media_type: str) -> None:
    answered = client.post(
        f"/segment?format={format}", content=encoded(picture()), headers={"content-type": "image/png"}
    )
    assert answered.status_code == 200, answered.text
    assert answered.headers["content-type"] == media_type


def test_the_features_of_a_geotiff_lie_on_the_map(client: TestClient) -> None:
    """The stub sees a disc in the middle half of a picture."""
    headers = {"content-type": "image/tiff"}
    for place, crs in (
        (geotiff(SCALE, TIE, keys=UTM, width=120, height=80), True),
        (geotiff(width=120, height=80), False),
    ):
        found = client.post("/segment?format=geojson&score=0.7", content=place, headers=headers).json()
        assert ("crs" in found, found["coordinates"]) == (crs, "map" if crs else "pixels")
        (feature,) = found["features"]
        middle = shape(feature["geometry"]).centroid
        expected = (399960 + 10 * 60, 4900020 - 10 * 40) if crs else (60, 40)
        assert (middle.x, middle.y) == pytest.approx(expected, abs=5 if crs else 0.5)
