"""WebP: chunks in a RIFF container."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from model.predict.headers.header import Bytes, Header
from model.predict.headers.orientation import MOST_XMP, exif_orientation, upright_by, xmp_orientation
from model.predict.image_errors import CorruptImage

MOST_CHUNKS = 50_000
_ALPHA, _ICC = 0x10, 0x20  # flags of the VP8X chunk
_FRAME_HEAD = 16  # bytes of an ANMF chunk before the frame's own chunks


def read(data: Bytes) -> Header:
    """Return the header, with the file's own width and height. Raise CorruptImage or struct.error."""
    name = data[12:16]
    if name in (b"VP8 ", b"VP8L"):
        width, height, transparent = _frame_size(data, name, 20)
        return _header(data, width, height, name == b"VP8L", transparent, 1, False)
    if name != b"VP8X":
        raise CorruptImage("the WebP image is damaged: it has no picture; use the complete file")
    flags = data[20]
    width = 1 + int.from_bytes(data[24:27], "little")
    height = 1 + int.from_bytes(data[27:30], "little")
    lossless: bool | None = None
    exif = xmp = b""  # the first of each counts
    for name, start, length in _chunks(data, 12, len(data)):
        if name == b"EXIF":
            exif = exif or data[start : start + length]
        elif name == b"XMP ":
            xmp = xmp or data[start : start + min(length, MOST_XMP)]
        elif name in (b"VP8 ", b"VP8L", b"ANMF") and lossless is None:
            lossless = _first_frame_lossless(data, name, start, length, (width, height))
    if lossless is None:
        raise CorruptImage("the WebP image is damaged: it has no picture; use the complete file")
    return _header(
        data,
        width,
        height,
        lossless,
        bool(flags & _ALPHA),
        upright_by(exif_orientation(exif), xmp_orientation(xmp)),
        bool(flags & _ICC),
    )


def _header(
    data: Bytes, width: int, height: int, lossless: bool, transparent: bool, orientation: int, profile: bool
) -> Header:
    return Header(
        "WebP",
        width,
        height,
        "lossless" if lossless else "lossy",
        "RGBA" if transparent else "RGB",
        len(data),
        orientation=orientation,
        transparent=transparent,
        profile=profile,
        # Two canvases and the frame's bytes. A lossless frame's own pixels are gone before the picture is filled.
        buffer=12 * width * height,
        samples=width * height,
    )


def _chunks(data: Bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and where its payload begins and how long it is."""
    for _ in range(MOST_CHUNKS):
        if at + 8 > end:
            return
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, length
        at += 8 + length + length % 2
    raise CorruptImage(f"the WebP image has more than {MOST_CHUNKS} chunks; save it again")


def _frame_size(data: Bytes, name: bytes, start: int) -> tuple[int, int, bool]:
    """Return width, height, and whether a lossless frame has alpha."""
    if name == b"VP8 ":
        if data[start + 3 : start + 6] != b"\x9d\x01\x2a":
            raise CorruptImage("the header of the WebP image is damaged; use the complete file")
        width, height = struct.unpack_from("<HH", data, start + 6)
        return width & 0x3FFF, height & 0x3FFF, False
    signature, bits = struct.unpack_from("<BI", data, start)
    if signature != 0x2F:
        raise CorruptImage("the header of the WebP image is damaged; use the complete file")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)


def _first_frame_lossless(data: Bytes, name: bytes, start: int, length: int, canvas: tuple[int, int]) -> bool:
    """Whether the first frame is lossless. Raise CorruptImage if it is larger than the canvas."""
    if name == b"ANMF":
        end = min(len(data), start + length)
        inner = (chunk for chunk in _chunks(data, start + _FRAME_HEAD, end) if chunk[0] in (b"VP8 ", b"VP8L"))
        found = next(inner, None)
        if found is None:
            raise CorruptImage("the WebP image is damaged: its first frame is empty; use the complete file")
        name, start, _ = found
    width, height, _ = _frame_size(data, name, start)
    if width > canvas[0] or height > canvas[1]:
        raise CorruptImage(
            "the WebP image is damaged: a frame is larger than the picture; use the complete file"
        )
    return name == b"VP8L"
