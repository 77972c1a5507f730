"""Format `geojson`: a feature collection (RFC 7946) in pixels, or in map coordinates of a GeoTIFF."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.masks.rings import HoledPolygons, holed_polygons
from service.output.format import Format, Found
from service.output.limits import Allowance
from service.output.text import Text, array_text, nested_text, object_text
from service.output.tools.regions import FoundRegion, regions

if TYPE_CHECKING:
    from model.predict.headers.georeference import Georeference

_PART = 1 / 1000  # of a pixel: what a map coordinate is rounded to, at most
_MOST_DECIMALS = 12


def encode(found: Found, left: Allowance) -> Text:
    """Return a feature for each instance, or for each class of a label map. Without pixels its geometry is null."""
    place = found.georeference
    system = {} if place is None or place.epsg is None else {"crs": _system(place.epsg)}
    return object_text(
        {
            "type": "FeatureCollection",
            "model": found.model,
            "width": found.width,
            "height": found.height,
            "coordinates": "pixels" if place is None else "map",
            **system,
            "features": array_text(_feature(region, place, left) for region in regions(found, left)),
        }
    )


def _feature(region: FoundRegion, place: Georeference | None, left: Allowance) -> Text:
    shapes = holed_polygons(region.runs, left.check, left.corners)
    left.corners -= len(shapes.points)
    score = {} if region.score is None else {"score": region.score}
    properties = {
        "category": region.category.name,
        "category_id": region.category.id,
        **score,
        "area_pixels": region.runs.area,
    }
    return object_text(
        {"type": "Feature", "geometry": _geometry(shapes, place), "properties": object_text(properties)}
    )


def _geometry(shapes: HoledPolygons, place: Georeference | None) -> Text | None:
    if not shapes.points.size:
        return None
    several = shapes.polygon_stops.size > 1
    closed = np.zeros((len(shapes.points), 2), np.uint8)
    closed[:, 1] = 1
    closed[shapes.ring_stops - 1, 1] = 2
    closed[shapes.polygon_stops - 1, 1] = 3
    closed[-1, 1] = 4 if several else 3
    numbers, decimals = _coordinates(shapes, place)
    return object_text(
        {
            "type": "MultiPolygon" if several else "Polygon",
            "coordinates": nested_text(numbers.ravel(), closed.ravel(), decimals),
        }
    )


def _coordinates(shapes: HoledPolygons, place: Georeference | None) -> tuple[NDArray[np.int64], int]:
    """Return the coordinates [n, 2] times 10 to the power of the number that comes with them.

    Outer rings are counterclockwise where y goes up, as the RFC wants them, and so they are in pixels: clockwise as
    displayed.
    """
    if place is None:
        return shapes.points.astype(np.int64), 0
    points = shapes.points if place.mirrored else _reversed(shapes)
    column, row = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    x = place.x0 + column * place.x_column + row * place.x_row
    y = place.y0 + column * place.y_column + row * place.y_row
    steps = (math.hypot(place.x_column, place.y_column), math.hypot(place.x_row, place.y_row))
    wanted = math.ceil(-math.log10(min(steps) * _PART))
    largest = max(float(np.abs(x).max()), float(np.abs(y).max()), 1.0)
    decimals = min(max(0, wanted), _MOST_DECIMALS, 17 - math.ceil(math.log10(largest)))  # within 64 bits
    decimals = max(0, decimals)
    return np.rint(np.stack((x, y), axis=1) * 10.0**decimals).astype(np.int64), decimals


def _reversed(shapes: HoledPolygons) -> NDArray[np.int32]:
    """Return the points with each ring walked backwards."""
    starts = np.concatenate(([0], shapes.ring_stops[:-1]))
    lengths = shapes.ring_stops - starts
    backwards: NDArray[np.int32] = shapes.points[
        np.repeat(starts + shapes.ring_stops - 1, lengths) - np.arange(len(shapes.points))
    ]
    return backwards


def _system(epsg: int) -> dict[str, Any]:
    """Return the member that named the reference system before RFC 7946, which GDAL and QGIS read."""
    return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{epsg}"}}


FORMAT = Format(
    "a GeoJSON feature collection with polygons that may have holes, in pixels or, of a GeoTIFF, in map coordinates",
    {"instance": encode, "semantic": encode},
    media_type="application/geo+json",
    suffix=".geojson",
    enveloped=False,
    listed=False,
    drawable=False,
    placed=True,
)
