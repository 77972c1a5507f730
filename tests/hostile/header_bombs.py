"""Files that are small, or well-formed, and cost a careless header check much."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from bench.speed.picture_kinds import picture

SMALL = picture(20, 24)


def saved(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, format, **options)
    return file.getvalue()


def tiff(*entries: tuple[int, int, int, int], width: int = 4, height: int = 4, rows: int = 4) -> bytes:
    """Return a grey TIFF with entries (tag, type, count, value) more or others."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, rows), 279: (4, 1, 16)}
    tags |= {tag: rest for tag, *rest in entries}  # type: ignore[misc]
    table = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", len(tags)) + table + bytes(4)


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png_with(chunks: bytes) -> bytes:
    data = saved("PNG")
    return data[:33] + chunks + data[33:]


def webp_with(name: bytes, payload: bytes) -> bytes:
    """Return a WebP with a chunk more, before its picture."""
    head = b"VP8X\x0a\0\0\0\0\0\0\0" + struct.pack("<I", SMALL.shape[1] - 1)[:3]
    head += struct.pack("<I", SMALL.shape[0] - 1)[:3] + name + struct.pack("<I", len(payload)) + payload
    data = saved("WebP")
    return data[:12] + head + data[12:]


def jpeg_with(segments: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + segments + data[2:]


EXIF_OF_MANY_ENTRIES = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 1, 3, 1, 1) * 5000
BOMBS: dict[str, Callable[[], bytes]] = {
    "strip offsets by the million": lambda: tiff((273, 1, 5_000_000, 300)) + bytes(5_000_400),
    "strip counts by the million": lambda: tiff((279, 3, 2_000_000, 300)) + bytes(5_000_400),
    "strips of a row": lambda: (
        tiff((273, 4, 1_000_000, 300), (279, 4, 1_000_000, 300), height=1_000_000, rows=1) + bytes(4_000_000)
    ),
    "tiles of a pixel": lambda: tiff(
        (322, 3, 1, 1), (323, 3, 1, 1), (324, 3, 1000, 0), width=9**6, height=9**6
    ),
    "entries": lambda: b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 1, 3, 1, 1) * 65535,
    "entries of a big TIFF": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(3_000_000),
    "values of another directory": lambda: (
        tiff((34665, 4, 1, 160)) + b"\1\0" + struct.pack("<HHII", 37500, 3, 2_000_000, 8) + bytes(4_000_000)
    ),
    "chunks": lambda: png_with(chunk(b"abCd", b"") * 400_000),
    "pixels in empty chunks": lambda: saved("PNG")[:33] + chunk(b"IDAT", b"") * 400_000,
    "texts that inflate": lambda: png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * 10**7)) * 500
    ),
    "texts of newlines": lambda: png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * 2**20)) * 16
    ),
    "profiles that are too long": lambda: png_with(
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**20 + 100), 9)) * 900
    ),
    "a profile that never begins": lambda: png_with(
        chunk(b"iCCP", b"x\0\0" + b"\x78\x9c" + b"\0\0\0\xff\xff" * 1_000_000)
    ),
    "an XMP of orientations": lambda: webp_with(b"XMP ", b"tiff:Orientation=         " * 150_000),
    "orientations": lambda: png_with(chunk(b"eXIf", EXIF_OF_MANY_ENTRIES) * 100),
    "a prefix again and again": lambda: png_with(chunk(b"eXIf", b"Exif\0\0" * 800_000)),
    "segments": lambda: jpeg_with(b"\xff\xfe\0\2" * 1_000_000),
    "fill bytes": lambda: jpeg_with(b"\xff" * 5_000_000),
    "lone markers": lambda: jpeg_with(b"\xff\x01" * 2_000_000),
    "EXIF segments": lambda: jpeg_with(
        (b"\xff\xe1" + struct.pack(">H", 2 + len(EXIF_OF_MANY_ENTRIES)) + EXIF_OF_MANY_ENTRIES) * 80
    ),
    "fill bytes after a scan": lambda: saved("JPEG", progressive=True)[:-2] + b"\xff" * 5_000_000,
    "zeros after a scan": lambda: saved("JPEG")[:-2] + bytes(5_000_000),
    "scans": lambda: saved("JPEG", progressive=True)[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 500_000,
    "XMP without an end": lambda: jpeg_with(
        b"\xff\xe1\xff\xf0http://ns.adobe.com/xap/1.0/\0" + (b"tiff:Orientation=         " * 3000)[:65505]
    ),
    "blocks": lambda: saved("GIF")[:13] + b"\x21\xfe" + b"\1x" * 2_000_000,
    "long extensions": lambda: saved("GIF")[:13] + (b"\x21\xfe" + b"\1x" * 19_000 + b"\0") * 50,
    "extensions": lambda: saved("GIF")[:13] + b"\x21\xfe\0" * 1_000_000,
    "bytes before a frame": lambda: b"GIF89a\1\0\1\0\0\0\0" + b"\1" * 5_000_000,
    "WebP chunks": lambda: b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + b"abcd\0\0\0\0" * 600_000,
    "a declaration without a picture": lambda: b"<?xml" + b" " * 5_000_000,
    "spaces": lambda: b" " * 5_000_000,
}
