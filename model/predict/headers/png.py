"""PNG: a list of chunks, some of them compressed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from model.predict.headers.header import Bytes, Header
from model.predict.headers.orientation import exif_orientation, upright_by, xmp_orientation
from model.predict.image_errors import CorruptImage

MOST_CHUNKS = 5000  # without those of pixels
MOST_PIXEL_CHUNKS = 50_000  # writers have 4 kB or more in each
MOST_PROFILE = 2**20  # bytes of a profile, as Pillow has it
MOST_TEXTS, MOST_TEXT = 4, 2**16  # chunks that are looked into for an orientation, and bytes of each of them
_LABELS = 2**10  # bytes before a text
_SIGNATURE = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_NAMES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# What the picture depends on. Another picture of an animation, text and the like are left out.
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND")
_ONCE = (b"PLTE", b"tRNS", b"iCCP")


@dataclass(frozen=True)
class _Chunk:
    """One chunk, or several of pixels in a row."""

    name: bytes
    start: int
    end: int  # may be beyond the file's
    parts: int = 1

    def payload(self, data: Bytes, most: int) -> bytes:
        """Return the first `most` bytes of what one chunk contains."""
        return data[self.start + 8 : min(self.end - 4, self.start + 8 + most)]


def _chunks(data: Bytes) -> Iterator[_Chunk]:
    """Yield the chunks up to the last; the file may end within it."""
    at, pixels = _SIGNATURE, 0
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        name, end, parts = data[at + 4 : at + 8], _behind(data, at), 1
        if name == b"IDAT":
            end, parts = _behind_pixels(data, at, MOST_PIXEL_CHUNKS - pixels)
            pixels += parts
        yield _Chunk(name, at, end, parts)
        if name == b"IEND":
            return
        at = end
    raise CorruptImage(f"the PNG image has more than {MOST_CHUNKS} chunks besides its pixels; save it again")


def _behind(data: Bytes, at: int) -> int:
    (length,) = struct.unpack_from(">I", data, at)
    return at + 12 + int(length)


def _behind_pixels(data: Bytes, at: int, most: int) -> tuple[int, int]:
    """Return the end of all chunks of pixels from `at` on, and their number. Raise CorruptImage above `most`."""
    for count in range(most + 1):
        if data[at + 4 : at + 8] != b"IDAT":
            return at, count
        at = _behind(data, at)
    raise CorruptImage(f"the PNG image has more than {MOST_PIXEL_CHUNKS} chunks of pixels; save it again")


def read(data: Bytes) -> Header:
    """Return the header, with the file's own width and height. Raise CorruptImage or struct.error."""
    width, height, depth, colour, compression, filters, interlace = struct.unpack_from(
        ">IIBBBBB", data, _SIGNATURE + 8
    )
    if data[_SIGNATURE : _SIGNATURE + 8] != b"\0\0\0\x0dIHDR" or (
        depth not in _DEPTHS.get(colour, ()) or compression or filters or interlace > 1
    ):
        raise CorruptImage("the header of the PNG image is damaged; use the complete file")
    if max(width, height) >= 2**31:
        raise CorruptImage(
            "the header of the PNG image is damaged: its size is impossible; use the complete file"
        )
    transparent, profile, pixels = colour in (4, 6), False, False
    exif = b""  # the first counts
    other: list[int | None] = []
    texts = parts = 0
    for chunk in _chunks(data):
        parts += chunk.parts
        if chunk.name == b"IDAT":
            pixels = True
        elif chunk.name == b"tRNS" and not pixels:
            transparent = transparent or depth < 16 or colour != 0  # Pillow has none for 16-bit grey
        elif chunk.name == b"iCCP" and not pixels:
            profile = True  # perhaps: to be sure takes long, and only the forecast depends on it
        elif chunk.name == b"eXIf":
            exif = exif or chunk.payload(data, len(data))
        elif chunk.name in (b"tEXt", b"zTXt", b"iTXt") and texts < MOST_TEXTS:
            found = _text_orientation(chunk.name, chunk.payload(data, _LABELS + MOST_TEXT))
            if found is not _OTHER_TEXT:
                texts += 1
                other.append(found)
    if not pixels:
        raise CorruptImage("the PNG image has no pixels; use the complete file")
    row = -(-width * _CHANNELS[colour] * depth // 8)
    return Header(
        "PNG",
        width,
        height,
        f"{depth}-bit {_NAMES[colour]}" + (", interlaced" if interlace else ""),
        _mode(depth, colour),
        len(data),
        orientation=upright_by(exif_orientation(exif), *other),
        transparent=transparent,
        profile=profile,
        buffer=3 * row,
        samples=row * height,
        parts=parts,
    )


def _mode(depth: int, colour: int) -> str:
    if colour == 0:
        return {1: "1", 16: "I;16"}.get(depth, "L")
    if colour == 4:
        return "LA" if depth == 8 else "RGBA"
    return {2: "RGB", 3: "P", 6: "RGBA"}[colour]


_OTHER_TEXT = -1


def _text_orientation(name: bytes, payload: bytes) -> int | None:
    """Return the orientation that a text chunk has, None if it has none, _OTHER_TEXT if it is about something else."""
    key, separator, text = payload.partition(b"\0")
    if not separator or key not in (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp"):
        return _OTHER_TEXT
    if name == b"zTXt":
        text = _inflated(text[1:], MOST_TEXT)[0]
    elif name == b"iTXt":
        compressed, (_, _, text) = text[:1] == b"\1", _three(text[2:])
        text = _inflated(text, MOST_TEXT)[0] if compressed else text
    if key == b"XML:com.adobe.xmp":
        return xmp_orientation(text)
    # An empty line, one with the type, one with the length, and hexadecimal digits.
    digits = b"".join(text[:MOST_TEXT].split(b"\n", 3)[3:]).translate(None, b" \r\n\t")
    try:
        return exif_orientation(bytes.fromhex(digits[: len(digits) & ~1].decode("ascii")))
    except ValueError:
        return None


def _three(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the three parts of text that zeros divide: language, translated keyword, text."""
    parts = text.split(b"\0", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (b"", b"", b"")


def _has_profile(payload: bytes) -> bool:
    """Whether a profile is one that Pillow reads; a larger one is left out."""
    _, separator, rest = payload.partition(b"\0")
    if not separator or rest[:1] != b"\0" or len(payload) > MOST_PROFILE + _LABELS:
        return False
    profile, whole = _inflated(rest[1:], MOST_PROFILE)
    return bool(profile) and whole


def _inflated(compressed: bytes, most: int) -> tuple[bytes, bool]:
    """Return the first `most` inflated bytes, none if they are damaged, and whether those are all."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(compressed, most)
    except zlib.error:
        return b"", False
    return plain, not inflater.unconsumed_tail


def essential(data: bytes) -> bytes:
    """Return the file with the chunks alone that its picture depends on."""
    kept: list[bytes | memoryview] = [data[:_SIGNATURE]]
    view, seen, pixels = memoryview(data), set[bytes](), False
    for chunk in _chunks(data):
        known = chunk.name in _KEPT and not (chunk.name in _ONCE and (pixels or chunk.name in seen))
        known = known and not (chunk.name == b"IHDR" and seen)
        pixels = pixels or chunk.name == b"IDAT"
        if known and (chunk.name != b"iCCP" or _has_profile(chunk.payload(data, MOST_PROFILE + 2 * _LABELS))):
            kept.append(view[chunk.start : chunk.end])
        seen.add(chunk.name)
    return b"".join(kept)
