"""The size of an image as displayed, read from its file's header."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

from model.predict.images import image_reader, orientation

_SIGNATURE = 1024  # bytes that decide what format a file has
_BEHIND_PIXELS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG that may hold its orientation
_OTHER_METADATA = (
    "XML:com.adobe.xmp",
    "xmp",
    "Raw profile type exif",
)  # of a PNG: orientation outside of EXIF


class DisplayedSize(NamedTuple):
    """Pixels of an image as `decode` returns it; `turned` if its file has width and height the other way round."""

    width: int
    height: int
    turned: bool


def displayed_size(file: BinaryIO) -> DisplayedSize:
    """Return the size that `decode` would give an image, in nearly all cases without decoding its pixels.

    A PNG is decoded if its orientation may stand where Pillow looks only after the pixels. Raises `ImageError`
    for formats that `decode` refuses, and whatever Pillow raises at a damaged header.
    """
    name, reader = image_reader(file.read(_SIGNATURE))
    behind = name == "PNG" and _has_metadata_behind_pixels(file)
    file.seek(0)
    with reader(file) as image:
        if name == "TIFF":  # its size is the displayed one already
            return DisplayedSize(*image.size, turned=False)
        if name == "PNG" and not (behind or any(key in image.info for key in ("exif", *_OTHER_METADATA))):
            return DisplayedSize(*image.size, turned=False)  # looking for an orientation would decode it
        turn = orientation(image)
        turned = isinstance(turn, int) and 5 <= turn <= 8
        width, height = image.size[::-1] if turned else image.size
        return DisplayedSize(width, height, turned)


def _has_metadata_behind_pixels(file: BinaryIO) -> bool:
    file.seek(8)
    pixels_seen = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if pixels_seen and kind in _BEHIND_PIXELS:
            return True
        pixels_seen = pixels_seen or kind == b"IDAT"
        file.seek(length + 4, os.SEEK_CUR)
    return False
