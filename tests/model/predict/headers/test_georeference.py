"""The place of a GeoTIFF, against files that tifffile or Pillow write."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from model.predict.headers.georeference import Georeference, georeference

UTM = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
WGS84_POINT = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 2, 2048, 0, 1, 4326)
OWN = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32767)
SCALE, TIE = (10.0, 10.0, 0.0), (0.0, 0.0, 0.0, 399960.0, 4900020.0, 0.0)
MATRIX = (0.4, 0.3, 0.0, 5.0, -0.3, 0.4, 0.0, 7.0, 0, 0, 0, 0, 0, 0, 0, 1.0)


def geotiff(
    scale: Any = None, tie: Any = None, matrix: Any = None, keys: Any = None, **options: int
) -> bytes:
    """Return a TIFF file with these tags, and perhaps an orientation or another size."""
    directory = ImageFileDirectory_v2()
    for tag, kind, values in ((33550, 12, scale), (33922, 12, tie), (34264, 12, matrix), (34735, 3, keys)):
        if values is not None:
            directory.tagtype[tag] = kind
            directory[tag] = values
    if "orientation" in options:
        directory[274] = options["orientation"]
    file = io.BytesIO()
    size = options.get("height", 4), options.get("width", 5), 3
    Image.fromarray(np.full(size, 100, np.uint8)).save(file, "TIFF", tiffinfo=directory)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (geotiff(SCALE, TIE, keys=UTM), Georeference(399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0, 32633)),
        (
            geotiff(SCALE, (2.0, 1.0, 0.0, 20.0, -10.0, 0.0), keys=OWN),
            Georeference(0, 10, 0, 0, 0, -10, None),
        ),
        (geotiff(SCALE, TIE, keys=WGS84_POINT), Georeference(399955.0, 10, 0, 4900025.0, 0, -10, 4326)),
        (geotiff(matrix=MATRIX), Georeference(5.0, 0.4, 0.3, 7.0, -0.3, 0.4, None)),
        (geotiff(), None),
        (geotiff(SCALE), None),
        (geotiff(tie=TIE * 4), None),  # control points without a scale
        (geotiff(SCALE, TIE, orientation=6), None),
        (geotiff((0.0, 10.0, 0.0), TIE), None),
        (geotiff((float("inf"), 10.0, 0.0), TIE), None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"", None),
    ],
)
def test_the_place_is_what_the_tags_say(file: bytes, expected: Georeference | None) -> None:
    found = georeference(file)
    assert found == expected


def test_damaged_files_have_a_place_of_finite_numbers_or_none() -> None:
    whole = geotiff(SCALE, TIE, keys=UTM)
    assert not any(georeference(whole[:end]) for end in range(len(whole) // 2))
    found = [georeference(whole[:end]) for end in range(len(whole) // 2, len(whole))]
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(256)
        found.append(georeference(bytes(damaged)))
    assert None in found and any(found)
    for place in filter(None, found):
        assert all(math.isfinite(value) for value in astuple(place)[:6])


def test_big_tiff_files_have_their_place_too() -> None:
    entries = [(33550, 12, struct.pack("<3d", *SCALE)), (33922, 12, struct.pack("<6d", *TIE))]
    at = 16 + 8 + 20 * len(entries) + 8
    rows, values = b"", b""
    for tag, kind, data in entries:
        rows += struct.pack("<HHQQ", tag, kind, len(data) // 8, at + len(values))
        values += data
    file = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(entries)) + rows + bytes(8) + values
    assert georeference(file) == Georeference(399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0, None)
