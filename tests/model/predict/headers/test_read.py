"""What people send: what is refused is named, and what only looks broken is read."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from model.predict.headers import FORMATS, read_header
from model.predict.image_errors import CorruptImage, NotAnImage, UnsupportedFormat
from model.predict.images import decode

NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def saved(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(file, format, **options)
    return file.getvalue()


def same_pixels(one: bytes, other: bytes) -> bool:
    found = [decode(data, max_pixels=10_000).pixels for data in (one, other)]
    return bool(np.array_equal(*found))


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_that_is_switched_off_is_refused_with_those_that_are_not(format: str) -> None:
    others = [name for name in FORMATS if name != format]
    with pytest.raises(
        UnsupportedFormat, match=rf"{format} images .* use a {others[0]}, .* or {others[-1]} im"
    ):
        read_header(saved(format), others)
    assert read_header(saved(format), [format]).format == format
    with pytest.raises(NotAnImage, match="use a GIF image"):
        read_header(b"nothing", ["GIF"])


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"II\xbc\x01\x20\0\0\0", "JPEG XR"),
        (b"IIRO\x08\0\0\0", "raw camera"),
        (b"IIU\0\x18\0\0\0", "raw camera"),
        (b"FUJIFILMCCD-RAW 0201", "raw camera"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "raw camera"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    ],
)
def test_formats_that_are_refused_are_named(start: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"{name} images are not supported"):
        read_header(start + bytes(100))


@pytest.mark.parametrize(
    ("marker", "name"),
    [(0xC3, "lossless JPEG"), (0xC7, "hierarchical JPEG"), (0xCB, "lossless JPEG"), (0xF7, "JPEG-LS")],
)
def test_processes_of_jpeg_that_are_not_read_are_named(marker: int, name: str) -> None:
    data = saved("JPEG")
    with pytest.raises(UnsupportedFormat, match=f"{name} images are not supported"):
        read_header(data.replace(b"\xff\xc0", bytes([0xFF, marker]), 1))


def test_depths_of_jpeg_that_are_not_read_are_named() -> None:
    data = bytearray(saved("JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedFormat, match="3 channels of 12 bits"):
        read_header(bytes(data))


def test_a_jpeg_may_lack_its_end_marker_but_no_pixels() -> None:
    for options in ({}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}):
        data = saved("JPEG", **options)
        assert data.endswith(b"\xff\xd9")
        assert same_pixels(data[:-2], data)
        for cut in (4, 8, len(data) // 10, len(data) // 2):
            with pytest.raises(CorruptImage):
                decode(data[:-cut], max_pixels=10_000)


def png_with(name: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """Return a PNG file with and without a chunk."""
    data = saved("PNG")
    chunk = struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))
    return data[:33] + chunk + data[33:], data


@pytest.mark.parametrize(
    ("name", "start"),
    [(b"iCCP", b"name\0\0"), (b"zTXt", b"Comment\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0")],
)
@pytest.mark.parametrize("size", [1000, 3 * 2**20])
def test_chunks_that_inflate_much_do_not_matter(name: bytes, start: bytes, size: int) -> None:
    assert same_pixels(*png_with(name, start + zlib.compress(bytes(size))))
    assert same_pixels(*png_with(name, start + b"this is not compressed"))


def test_much_text_does_not_matter() -> None:
    info = PngInfo()
    for index in range(100):
        info.add_text(f"text {index}", "x" * 900_000, zip=True)
    assert same_pixels(saved("PNG", pnginfo=info), saved("PNG"))


def directory(*entries: tuple[int, int, int, int], start: bytes = b"II*\0") -> bytes:
    """Return a TIFF file of one grey pixel, with entries (tag, type, count, value) more or others."""
    tags = {tag: (3, 1, value) for tag, value in ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8))}
    tags |= {277: (3, 1, 1), 278: (3, 1, 1), 279: (3, 1, 1)}
    tags |= {tag: (kind, count, value) for tag, kind, count, value in entries}
    rows = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(tags.items()))
    return start + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + rows + bytes(4)


def test_a_tiff_by_hand_is_read() -> None:
    assert decode(directory(), max_pixels=1).pixels.tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize(
    "entries",
    [[(254, 4, 1, 1), (330, 4, 1, 8)], [(50706, 1, 4, 0x0401)]],
    ids=["preview with sub-directories", "DNG"],
)
def test_a_raw_camera_file_is_not_segmented_as_its_preview(entries: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(UnsupportedFormat, match="raw camera images .* use the JPEG image"):
        read_header(directory(*entries))


def test_a_canon_raw_file_is_refused() -> None:
    data = directory()
    with pytest.raises(UnsupportedFormat, match="raw camera"):
        read_header(data[:8] + b"CR\2\0" + data[12:])


def test_a_thumbnail_or_a_page_of_a_tiff_is_an_image() -> None:
    assert read_header(directory((254, 4, 1, 2))).width == 1
    assert read_header(directory((254, 4, 1, 1))).width == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((259, 3, 1, 34712), "compression 34712"),
        ((339, 3, 1, 3), "kind F"),
        ((258, 3, 1, 32), "kind I"),
        ((262, 3, 1, 32803), "colour space 32803"),
        ((277, 3, 1, 200), "200 samples"),
    ],
)
def test_a_tiff_that_is_not_read_says_why(entry: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(UnsupportedFormat, match=message):
        read_header(directory(entry))


def test_a_big_tiff_is_read() -> None:
    data = saved("TIFF", big_tiff=True)
    assert data[2] == 43
    assert same_pixels(data, saved("PNG"))
    assert same_pixels(saved("TIFF", big_tiff=True, compression="tiff_lzw"), saved("PNG"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_the_mode_of_a_tiff_is_foretold(mode: str, compression: str) -> None:
    image = Image.fromarray(NOISE)
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
    data = saved("TIFF", image, compression=compression)
    assert read_header(data).mode == Image.open(io.BytesIO(data)).mode == mode


def test_what_precedes_a_gif_frame_is_skipped() -> None:
    image = Image.fromarray(NOISE).convert("P")
    plain, long = (saved("GIF", image, comment=b"x" * count) for count in (1, 5000))
    assert same_pixels(plain, long)


def test_a_frame_that_sticks_out_of_a_gif_enlarges_it() -> None:
    data = bytearray(saved("GIF", Image.fromarray(NOISE).convert("P")))
    data[6:10] = struct.pack("<HH", 10, 10)
    header, decoded = read_header(bytes(data)), decode(bytes(data), max_pixels=10_000)
    assert (header.width, header.height) == (decoded.width, decoded.height) == (56, 40)
