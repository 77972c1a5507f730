"""The EXIF orientation of an image, which all formats keep in EXIF or in XMP."""

from __future__ import annotations

import re

from model.predict.headers.header import Bytes
from model.predict.headers.ifd import LONG, SHORT, Ifd, ifd_at, tiff_start

TAG = 274
MOST_XMP = 2**16  # bytes that are searched; JPEG has no longer packets
_XMP = re.compile(rb"""tiff:Orientation(?:\s{0,9}=\s{0,9}["']|>)\s{0,9}([0-9]{1,9})\s{0,9}["'<]""")


def upright_by(*found: int | None) -> int:
    """Return the first orientation that there is, or 1."""
    return next((orientation for orientation in found if orientation is not None), 1)


def exif_orientation(exif: Bytes) -> int | None:
    """Return the orientation of EXIF data, None if it has none, or none that is valid."""
    for _ in range(2):  # some writers put it twice
        exif = exif[6:] if exif[:6] == b"Exif\0\0" else exif
    start = tiff_start(exif)
    return None if start is None else ifd_orientation(ifd_at(exif, *start))


def ifd_orientation(ifd: Ifd) -> int | None:
    """Return the orientation in a directory of EXIF or TIFF, None if there is none that is valid."""
    entry = ifd.entries.get(TAG)
    if entry is None or entry.count != 1 or entry.type not in (SHORT, LONG):
        return None
    return _valid(ifd.numbers(TAG)[0])


def xmp_orientation(xmp: Bytes) -> int | None:
    """Return the orientation in the first MOST_XMP bytes of a packet, None if they have none, or none that is valid."""
    found = _XMP.search(xmp, 0, MOST_XMP)
    return _valid(int(found[1])) if found else None


def _valid(orientation: int) -> int | None:
    return orientation if 1 <= orientation <= 8 else None
