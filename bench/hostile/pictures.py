"""Pictures that cost far more to decode than to send. None needs its pixels in memory to be made."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

from PIL import Image

SIDE = 7000  # pixels; 49 megapixels, below the usual limit of 64


@cache
def webp_of_one_colour(side: int = SIDE) -> bytes:
    """Return a lossless WebP of one colour: a header, and codes that have a single symbol each."""
    bits = (side - 1) | (side - 1) << 14 | 1 << 28  # width, height, "has alpha", version 0
    length = 32 + 3  # no transform, no cache of colours, one group of codes
    for _ in range(5):  # green, red, blue, alpha, distance
        bits |= 1 << length  # a simple code: one symbol, of one bit, which is 0
        length += 4
    stream = b"\x2f" + bits.to_bytes(-(-length // 8), "little")
    stream += b"\0" * (len(stream) % 2 + 8)
    chunk = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


@cache
def tiff_of_strips(strips: int) -> bytes:
    """Return a TIFF with millions of strips, whose offsets and lengths are a byte each."""
    tags = [(256, 3, 1, 8), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    first = 8
    tags += [(273, 1, strips, first), (278, 3, 1, 1), (279, 1, strips, first + strips)]
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0" * 4
    return b"II*\0" + struct.pack("<I", first + 2 * strips) + b"\x08" * (2 * strips) + directory


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(side: int, depth: int, colour: int, chunks: bytes) -> bytes:
    """Return a PNG with some chunks between its header and its end."""
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + chunks + _chunk(b"IEND", b"")


@cache
def png_of_profiles(profiles: int = 900) -> bytes:
    """Return a PNG of 1 MB with many profiles, which have slightly more than 1 MiB when they are inflated."""
    profile = _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**20 + 100), 9))
    return _png(32, 8, 2, profile * profiles + _chunk(b"IDAT", zlib.compress(bytes(97 * 32))))


@cache
def png_of_newlines(texts: int = 16) -> bytes:
    """Return a PNG of 17 kB with texts of a million empty lines each, where EXIF data is looked for."""
    text = _chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * 2**20, 9))
    return _png(32, 8, 2, text * texts + _chunk(b"IDAT", zlib.compress(bytes(97 * 32))))


@cache
def png_of_bytes(side: int = 127) -> bytes:
    """Return a PNG of 0.6 MB whose pixels are in chunks of one byte each, nearly as many as are permitted."""
    pixels = zlib.compress(bytes((1 + 3 * side) * side), 0)
    return _png(side, 8, 2, b"".join(_chunk(b"IDAT", bytes([byte])) for byte in pixels))


@cache
def png_of_zeros(side: int = 7071) -> bytes:
    """Return a PNG of 16-bit RGBA that is black and transparent: 0.4 MB of file, 50 megapixels."""
    packer, row = zlib.compressobj(9), b"\0" * (1 + 8 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return _png(side, 16, 6, _chunk(b"IDAT", data))


@cache
def large_jpeg(picture: bytes, side: int = SIDE, *, progressive: bool = False) -> bytes:
    """Return a picture, enlarged to side×side, as JPEG."""
    with Image.open(io.BytesIO(picture)) as opened:
        return _jpeg(opened.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), progressive)


def _jpeg(image: Image.Image, progressive: bool) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=70, progressive=progressive)
    return out.getvalue()
