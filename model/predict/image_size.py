"""The size of an image as displayed, read from its file's header."""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO, NamedTuple

from model.predict.images import image_reader, orientation

_SIGNATURE = 1024  # bytes that decide what format a file has
_BEHIND_PIXELS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG that may hold its orientation
# Keys of Pillow's for metadata of a PNG that may hold its orientation outside of the EXIF chunk.
_OTHER_METADATA = ("XML:com.adobe.xmp", "xmp", "Raw profile type exif")


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
    if (size := _size_by_header(file)) is not None:
        return size
    file.seek(0)
    _, reader = image_reader(file.read(_SIGNATURE))
    file.seek(0)
    with reader(file) as image:
        return _turned(image.size, orientation(image))  # which decodes the pixels on its way to the metadata


def header_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height that `decode` would give an image, without decoding any pixel.

    None: only decoding tells, because a PNG may have its orientation behind the pixels, or because the file is damaged.
    """
    try:
        size = _size_by_header(io.BytesIO(data))
    except Exception:  # `decode` will say what is wrong with the file
        return None
    return None if size is None else (size.width, size.height)


def _size_by_header(file: BinaryIO) -> DisplayedSize | None:
    """Return the displayed size, or None for a PNG whose orientation may stand behind its pixels."""
    name, reader = image_reader(file.read(_SIGNATURE))
    behind = name == "PNG" and _has_metadata_behind_pixels(file)
    file.seek(0)
    with reader(file) as image:
        if name == "TIFF":  # its size is the displayed one already
            return DisplayedSize(*image.size, turned=False)
        if name == "PNG":
            if behind or any(key in image.info for key in _OTHER_METADATA):
                return None
            if "exif" not in image.info:  # looking for an orientation would decode the image
                return DisplayedSize(*image.size, turned=False)
        return _turned(image.size, orientation(image))


def _turned(size: tuple[int, int], turn: object) -> DisplayedSize:
    turned = isinstance(turn, int) and 5 <= turn <= 8
    width, height = size[::-1] if turned else size
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
