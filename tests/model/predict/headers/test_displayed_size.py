"""The size by a file's header is that of the decoded image, wherever the orientation stands."""

from __future__ import annotations

import io
import mmap
import struct
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from model.predict.headers import Header, read_header
from model.predict.image_errors import CorruptImage
from model.predict.images import decode

FORMATS = ["JPEG", "PNG", "WebP", "TIFF", "GIF", "BMP"]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="%d"/></x:xmpmeta>'


def encoded(format: str, exif: Image.Exif | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    if exif is not None and format not in ("GIF", "BMP"):
        options["exif"] = exif
    Image.new("RGB", (6, 8)).save(file, format, **options)
    return file.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def turned(data: bytes) -> bool:
    """Whether the header turns the image; its size is that of `decode`."""
    decoded, header = decode(data, max_pixels=100), read_header(data)
    assert (decoded.width, decoded.height) == (header.width, header.height)
    return header.turned


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", [0, 1, 3, 5, 6, 8, 9, 65535])
def test_it_is_the_decoded_size(format: str, orientation: int) -> None:
    exif = exif_of(orientation)
    expected = format not in ("GIF", "BMP") and 5 <= orientation <= 8
    assert turned(encoded(format, exif)) == expected


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("value", [b"\x06", "6", 6.0, (6, 6), 65536 + 6])
def test_an_orientation_of_another_type_is_ignored_everywhere(format: str, value: object) -> None:
    """Each value is one that some reader would take for a 6."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1)
    match value:
        case bytes():
            exif += struct.pack("<HHI4s", 274, 1, 1, value)
        case str():
            exif += struct.pack("<HHI4s", 274, 2, 2, b"6\0")
        case float():
            exif += struct.pack("<HHIf", 274, 11, 1, value)
        case int():
            exif += struct.pack("<HHII", 274, 4, 1, value)
        case _:
            exif += struct.pack("<HHIHH", 274, 3, 2, 6, 6)
    exif += bytes(4)
    if format == "TIFF":
        data = tiff_with(exif[16:28])
    else:
        file = io.BytesIO()
        Image.new("RGB", (6, 8)).save(file, format, exif=exif)
        data = file.getvalue()
    assert not turned(data)


def tiff_with(entry: bytes) -> bytes:
    """Return a grey TIFF of 6×8 pixels with one entry more in its directory."""
    tags = [(256, 6), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 48)]
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags] + [entry]
    return (
        b"II*\0"
        + struct.pack("<I", 56)
        + bytes(48)
        + struct.pack("<H", len(entries))
        + b"".join(sorted(entries, key=lambda e: e[0] + 256 * e[1]))
        + bytes(4)
    )


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "TIFF"])
def test_an_invalid_orientation_leaves_the_word_to_xmp(format: str) -> None:
    if format == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", (XMP % 6).decode())
        assert turned(encoded(format, pnginfo=info))
        assert turned(encoded(format, exif_of(9), pnginfo=info))
        assert not turned(encoded(format, exif_of(1), pnginfo=info))
    elif format == "TIFF":
        packet = XMP % 6
        data = tiff_with(struct.pack("<HHII", 700, 1, len(packet), 9 * 12 + 12 + 48 + 8 + 2 + 4))
        assert turned(data + packet)
    else:
        assert turned(encoded(format, xmp=XMP % 6))
        assert turned(encoded(format, exif_of(9), xmp=XMP % 6))
        assert not turned(encoded(format, exif_of(1), xmp=XMP % 6))
        assert not turned(encoded(format, xmp=XMP % 65))


@pytest.mark.parametrize("zip", [False, True])
def test_the_text_of_a_png_may_hold_its_exif_data(zip: bool) -> None:
    info, exif = PngInfo(), exif_of(6).tobytes()
    lines = exif.hex()
    info.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{lines[:72]}\n{lines[72:]}\n", zip=zip)
    assert turned(encoded("PNG", pnginfo=info))


@pytest.mark.parametrize("zip", [False, True])
def test_exif_data_and_xmp_may_go_on_behind_what_is_looked_into(zip: bool) -> None:
    info, exif = PngInfo(), exif_of(6).tobytes() + bytes(range(256)) * 400
    digits = exif.hex()
    lines = "\n".join(digits[at : at + 71] for at in range(0, len(digits), 71))
    info.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{lines}\n", zip=zip)
    assert turned(encoded("PNG", pnginfo=info))
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", (XMP % 6).decode() + " " * 200_000, zip=zip)
    assert turned(encoded("PNG", pnginfo=info))
    assert turned(encoded("WebP", xmp=XMP % 6 + b" " * 200_000))


@pytest.mark.parametrize("name", [b"eXIf", b"iTXt"])
def test_metadata_may_stand_behind_the_pixels(name: bytes) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", (XMP % 6).decode())
    data = encoded("PNG", exif_of(6)) if name == b"eXIf" else encoded("PNG", pnginfo=info)
    start = data.index(name) - 4
    end = start + struct.unpack(">I", data[start : start + 4])[0] + 12
    rest = data[:start] + data[end:]
    last = rest.index(b"IEND") - 4
    assert turned(rest[:last] + data[start:end] + rest[last:])
    assert not turned(rest)


def test_a_cut_file_has_the_size_of_its_header() -> None:
    data = encoded("JPEG", exif_of(6))
    header = read_header(data[:-4])
    assert (header.width, header.height) == (8, 6)
    with pytest.raises(CorruptImage, match="use the complete file"):
        read_header(data[:20])


@pytest.mark.parametrize("format", FORMATS)
def test_a_mapped_file_has_the_same_header(format: str, tmp_path: Path) -> None:
    data = encoded(format, exif_of(6))
    (tmp_path / "file").write_bytes(data)
    with (
        (tmp_path / "file").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        header = read_header(mapped)
    assert isinstance(header, Header) and header == read_header(data)
