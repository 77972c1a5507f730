"""The size by a file's header is that of the decoded image."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from model.predict.image_size import displayed_size
from model.predict.images import NotAnImage, decode


def encoded(format: str, orientation: int) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", (6, 8)).save(file, format, **({} if format in ("GIF", "BMP") else {"exif": exif}))
    return file.getvalue()


def check(data: bytes) -> bool:
    """Whether the image is turned; its size is that of `decode`."""
    decoded, size = decode(data, max_pixels=100), displayed_size(io.BytesIO(data))
    assert (decoded.width, decoded.height) == (size.width, size.height)
    return size.turned


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("orientation", [0, 1, 3, 5, 6, 8, 9])
def test_it_is_the_decoded_size(format: str, orientation: int) -> None:
    turned = check(encoded(format, orientation))
    assert turned == (format in ("JPEG", "PNG", "WebP") and 5 <= orientation <= 8)


def test_metadata_may_stand_behind_the_pixels() -> None:
    data = encoded("PNG", 6)
    start = data.index(b"eXIf") - 4
    end = start + struct.unpack(">I", data[start : start + 4])[0] + 12
    rest = data[:start] + data[end:]
    last = rest.index(b"IEND") - 4
    assert check(rest[:last] + data[start:end] + rest[last:])


def test_an_orientation_may_stand_in_xmp() -> None:
    info, file = PngInfo(), io.BytesIO()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    Image.new("RGB", (6, 8)).save(file, "PNG", pnginfo=info)
    assert check(file.getvalue())


def test_other_files_are_refused() -> None:
    with pytest.raises(NotAnImage):
        displayed_size(io.BytesIO(b"nothing"))
