"""The size by a file's header is that of the decoded image."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from model.predict.image_size import displayed_size, header_size
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
    swapped = format not in ("GIF", "BMP") and 5 <= orientation <= 8
    assert header_size(encoded(format, orientation)) == ((8, 6) if swapped else (6, 8))


def test_metadata_may_stand_behind_the_pixels() -> None:
    data = encoded("PNG", 6)
    start = data.index(b"eXIf") - 4
    end = start + struct.unpack(">I", data[start : start + 4])[0] + 12
    rest = data[:start] + data[end:]
    last = rest.index(b"IEND") - 4
    late = rest[:last] + data[start:end] + rest[last:]
    assert check(late)
    assert header_size(late) is None


def test_an_orientation_may_stand_in_xmp() -> None:
    info, file = PngInfo(), io.BytesIO()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    Image.new("RGB", (6, 8)).save(file, "PNG", pnginfo=info)
    assert check(file.getvalue())
    assert header_size(file.getvalue()) is None


def test_other_files_are_refused() -> None:
    with pytest.raises(NotAnImage):
        displayed_size(io.BytesIO(b"nothing"))
    assert header_size(b"nothing") is None


def test_a_cut_file_has_the_size_of_its_header() -> None:
    data = encoded("JPEG", 6)
    assert header_size(data[:-4]) == (8, 6)
    assert header_size(data[:20]) is None
