"""Where a GeoTIFF's pixels lie on a map (OGC GeoTIFF standard 19-008r4)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from model.predict.headers.header import Bytes
from model.predict.headers.ifd import Ifd, ifd_at, tiff_start

_PIXEL_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_ORIENTATION, _DOUBLE, _MOST_KEYS = 274, 12, 1024
_MODEL_TYPE, _RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1024, 1025, 2048, 3072
_PROJECTED_MODEL, _GEOGRAPHIC_MODEL, _POINT = 1, 2, 2
_MOST_EPSG = 32766  # higher numbers mean that the system is described in the file, or are private


@dataclass(frozen=True)
class Georeference:
    """The map coordinates of a picture's pixels.

    The corner of pixels at column c and row r lies at (x0 + c·x_column + r·x_row, y0 + c·y_column + r·y_row).
    """

    x0: float
    x_column: float
    x_row: float
    y0: float
    y_column: float
    y_row: float
    epsg: int | None  # the number of the coordinate reference system, if it has one

    @property
    def mirrored(self) -> bool:
        """Whether what is clockwise in the picture is counterclockwise on a map whose y goes up; else both agree."""
        return self.x_column * self.y_row - self.x_row * self.y_column > 0


def georeference(data: Bytes) -> Georeference | None:
    """Return where a picture lies on a map; None if it is no TIFF file, or does not say so by a linear transformation.

    Pictures that are turned for display (tag Orientation) have none either: it would have to be turned, too.
    """
    start = tiff_start(data)
    if start is None:
        return None
    try:
        ifd = ifd_at(data, *start)
    except struct.error:
        return None
    if ifd.number(_ORIENTATION, 1) != 1:
        return None
    keys = _geo_keys(ifd)
    found = _transformation(ifd) or _scale(ifd)
    if found is None or not all(map(math.isfinite, found)):
        return None
    x0, x_column, x_row, y0, y_column, y_row = found
    if x_column * y_row == x_row * y_column:
        return None
    if keys.get(_RASTER_TYPE) == _POINT:  # these numbers are then of the centres of pixels
        x0 -= (x_column + x_row) / 2
        y0 -= (y_column + y_row) / 2
    return Georeference(x0, x_column, x_row, y0, y_column, y_row, _epsg(keys))


def _transformation(ifd: Ifd) -> tuple[float, ...] | None:
    matrix = _doubles(ifd, _TRANSFORMATION, 16)
    if len(matrix) < 16:
        return None
    return matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5]


def _scale(ifd: Ifd) -> tuple[float, ...] | None:
    scale, tie = _doubles(ifd, _PIXEL_SCALE, 3), _doubles(ifd, _TIEPOINT, 6)
    if len(scale) < 2 or len(tie) < 6:
        return None
    column, row, _, x, y, _ = tie
    return x - column * scale[0], scale[0], 0.0, y + row * scale[1], 0.0, -scale[1]


def _doubles(ifd: Ifd, tag: int, most: int) -> tuple[float, ...]:
    """Return at most so many values of a tag; none of them if there is no such tag of this type."""
    entry = ifd.entries.get(tag)
    if entry is None or entry.type != _DOUBLE:
        return ()
    return struct.unpack_from(f"{ifd.order}{min(entry.count, most)}d", ifd.data, entry.at)


def _geo_keys(ifd: Ifd) -> dict[int, int]:
    """Return the keys whose values are short integers."""
    words = ifd.numbers(_KEYS, 4 * _MOST_KEYS)
    rows = (words[at : at + 4] for at in range(4, len(words) - 3, 4))
    return {key: value for key, place, _, value in rows if place == 0}


def _epsg(keys: dict[int, int]) -> int | None:
    name = {_PROJECTED_MODEL: _PROJECTED, _GEOGRAPHIC_MODEL: _GEOGRAPHIC}.get(keys.get(_MODEL_TYPE, 0))
    number = keys.get(name, 0) if name is not None else 0
    return number if 0 < number <= _MOST_EPSG else None
