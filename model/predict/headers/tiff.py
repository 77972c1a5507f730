"""TIFF: the first directory, with where its strips or tiles are."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from model.predict.headers.header import Bytes, Header
from model.predict.headers.ifd import ASCII, BYTE, SIZES, UNDEFINED, Ifd, ifd_at, tiff_start
from model.predict.headers.orientation import MOST_XMP, ifd_orientation, upright_by, xmp_orientation
from model.predict.headers.tiff_pixels import MOST_SAMPLES, pixel_mode
from model.predict.image_errors import CorruptImage, UnsupportedFormat

MOST_PARTS = 10_000  # strips or tiles
MOST_PROFILE = 4_000_000  # bytes
_COMPRESSIONS = {
    1: "raw",
    2: "fax",
    3: "fax",
    4: "fax",
    5: "lzw",
    6: "jpeg",
    7: "jpeg",
    8: "deflate",
    32771: "raw",
    32773: "packbits",
    32946: "deflate",
    34925: "lzma",
    50000: "zstd",
}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL = 254, 256, 257, 258, 259, 262, 266
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _COLOURS = 273, 277, 278, 279, 284, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SUB_IFDS, _EXTRA, _FORMAT = 322, 323, 324, 325, 330, 338, 339
_XMP, _PROFILE, _DNG, _JPEG_XR = 700, 34675, 50706, 0xBC01
# What else the picture depends on, with the most values: fax options, predictor, ink set, tables of JPEG, YCbCr.
_OPTIONS = {292: 1, 293: 1, 317: 1, 332: 1, 347: 2**17, 512: 1, 513: 1, 514: 1, 515: 1} | {
    519: 4,
    520: 4,
    521: 4,
    529: 3,
    530: 2,
    531: 1,
    532: 6,
}
_KEPT = {
    _WIDTH: 1,
    _HEIGHT: 1,
    _BITS: MOST_SAMPLES,
    _COMPRESSION: 1,
    _PHOTOMETRIC: 1,
    _FILL: 1,
    _SAMPLES: 1,
    _PLANAR: 1,
} | {
    _COLOURS: 3 * 256,
    _EXTRA: MOST_SAMPLES,
    _FORMAT: MOST_SAMPLES,
    _PROFILE: MOST_PROFILE,
    **_OPTIONS,
}


@dataclass(frozen=True)
class _Parts:
    """The strips or tiles of the picture."""

    width: int
    height: int
    count: int
    tiled: bool


def _first(data: Bytes) -> Ifd:
    start = tiff_start(data)
    if start is None or start[0] + 2 > len(data):
        raise CorruptImage("the TIFF image is truncated; use the complete file")
    return ifd_at(data, *start)


def read(data: Bytes) -> Header:
    """Return the header, with the file's own width and height. Raise CorruptImage, UnsupportedFormat, struct.error."""
    ifd = _first(data)
    if (
        data[8:10] == b"CR"
        or _DNG in ifd.entries
        or (ifd.number(_SUBFILE, 0) & 1 and _SUB_IFDS in ifd.entries)
    ):
        raise UnsupportedFormat(
            "raw camera images are not supported; use the JPEG image that the camera made"
        )
    if _JPEG_XR in ifd.entries:
        raise UnsupportedFormat("JPEG XR images are not supported; save it as JPEG or PNG")
    width, height = ifd.number(_WIDTH, 0), ifd.number(_HEIGHT, 0)
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise CorruptImage("the header of the TIFF image is damaged: it has no size; use the complete file")
    number = ifd.number(_COMPRESSION, 1)
    compression = _COMPRESSIONS.get(number)
    if compression is None:
        raise UnsupportedFormat(
            f"TIFF images of compression {number} are not supported; save it with LZW or none"
        )
    bits, mode = pixel_mode(ifd, number)
    parts = _parts(ifd, width, height, len(bits))
    separate = ifd.number(_PLANAR, 1) == 2
    row = -(-parts.width * (max(bits) if separate else sum(bits)) // 8)
    colours = 4 * parts.width if compression == "jpeg" or mode == "YCbCr" else row  # these are read as RGBX
    xmp = ifd.entries.get(_XMP)
    packet = (
        data[xmp.at : xmp.at + min(xmp.size, MOST_XMP)]
        if xmp and xmp.type in (BYTE, UNDEFINED, ASCII)
        else b""
    )
    return Header(
        "TIFF",
        width,
        height,
        compression + (", separate planes" if separate else ""),
        mode,
        len(data),
        orientation=upright_by(ifd_orientation(ifd), xmp_orientation(packet)),
        transparent=mode in ("LA", "La", "PA", "RGBA"),
        profile=_PROFILE in _kept(ifd),
        # libtiff keeps the decoded part, and some of its codecs the encoded one.
        buffer=0 if number == 1 else max(row, colours) * parts.height,
        samples=-(-width * height * sum(bits) // 8),
        parts=parts.count,
    )


def _parts(ifd: Ifd, width: int, height: int, planes: int) -> _Parts:
    tiled = _TILE_WIDTH in ifd.entries and _TILE_HEIGHT in ifd.entries
    if tiled:
        across, down = ifd.number(_TILE_WIDTH, 0), ifd.number(_TILE_HEIGHT, 0)
    else:
        across, down = width, min(height, ifd.number(_ROWS, height))
    if across < 1 or down < 1:
        raise CorruptImage(
            "the header of the TIFF image is damaged: its strips are empty; use the complete file"
        )
    count = -(-width // across) * -(-height // down) * (planes if ifd.number(_PLANAR, 1) == 2 else 1)
    if count > MOST_PARTS:
        raise CorruptImage(f"the TIFF image has more than {MOST_PARTS} strips or tiles; save it again")
    if not {_STRIPS, _TILES, 513} & ifd.entries.keys():
        raise CorruptImage("the TIFF image has no pixels; use the complete file")
    return _Parts(across, down, count, tiled)


def _kept(ifd: Ifd) -> dict[int, int]:
    """Return the tags, other than those of the parts, that the picture depends on: tag → how many values count."""
    return {
        tag: min(entry.count, _KEPT[tag])
        for tag, entry in ifd.entries.items()
        if tag in _KEPT
        and not (tag == _PROFILE and (entry.type not in (BYTE, UNDEFINED) or entry.count > MOST_PROFILE))
    }


def essential(data: bytes) -> bytes:
    """Return the file with a directory of the tags alone that its picture depends on, behind its old end.

    So Pillow makes no more objects than there are strips, reads no other directory, and does not turn the picture.
    """
    ifd = _first(data)
    bits, _ = pixel_mode(ifd, ifd.number(_COMPRESSION, 1))
    parts = _parts(ifd, ifd.number(_WIDTH, 0), ifd.number(_HEIGHT, 0), len(bits))
    tags = _kept(ifd)
    if parts.tiled:
        same = {_TILE_WIDTH: _TILE_WIDTH, _TILE_HEIGHT: _TILE_HEIGHT}
        lists = {_TILES: (_TILES, _STRIPS), _TILE_BYTES: (_TILE_BYTES, _STRIP_BYTES)}
    else:
        same, lists = {_ROWS: _ROWS}, {_STRIPS: (_STRIPS, _TILES), _STRIP_BYTES: (_STRIP_BYTES, _TILE_BYTES)}
    sources = {tag: tag for tag in tags} | {tag: tag for tag in same if tag in ifd.entries}
    counts = dict(tags)
    for tag, candidates in lists.items():
        source = next((candidate for candidate in candidates if candidate in ifd.entries), None)
        if source is not None:
            sources[tag], counts[tag] = source, min(parts.count, ifd.entries[source].count)
    return _with_directory(data, ifd, sources, counts)


def _with_directory(data: bytes, ifd: Ifd, sources: dict[int, int], counts: dict[int, int]) -> bytes:
    """Return the file with another first directory: tags with the values of their source, as many as `counts` says."""
    form, inline, count_form = ("Q", 8, "Q") if ifd.big else ("I", 4, "H")
    at = len(data) + len(data) % 2
    rows = []
    for tag, source in sorted(sources.items()):
        entry, count = ifd.entries[source], counts.get(tag, 1)
        size = count * SIZES[entry.type]
        value = (
            data[entry.at : entry.at + size].ljust(inline, b"\0")
            if size <= inline
            else struct.pack(ifd.order + form, entry.at)
        )
        rows.append(struct.pack(f"{ifd.order}HH{form}", tag, entry.type, count) + value)
    directory = struct.pack(ifd.order + count_form, len(rows)) + b"".join(rows) + bytes(inline)
    start = 8 if ifd.big else 4
    head = data[:start] + struct.pack(ifd.order + form, at)
    return b"".join([head, memoryview(data)[len(head) :], bytes(len(data) % 2), directory])
