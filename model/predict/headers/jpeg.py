"""JPEG: segments up to the first scan, and the number of scans."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from model.predict.headers.header import Bytes, Header
from model.predict.headers.orientation import exif_orientation, upright_by, xmp_orientation
from model.predict.image_errors import CorruptImage, UnsupportedFormat

# Encoders write about 10 scans. Each scan visits every pixel again, and may be only 20 bytes long.
MOST_SCANS = 100
MOST_SEGMENTS = 2000  # before the first scan; a profile or XMP of several MB takes a hundred
MOST_PROFILE = 4_000_000  # bytes
WITHOUT_END = ", without end"  # the last words of a kind
_SLICE = 2**18  # bytes that are searched at once: a search keeps other threads from running

# A marker before the first scan: what else stands between segments is skipped, as libjpeg does.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
# Within a scan, 0xff is followed by one of the bytes that are excluded here.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_EOI, _SOS, _DHP, _APP1, _APP2 = 0xD9, 0xDA, 0xDE, 0xE1, 0xE2
_LONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1, 0xC9}, {0xC2, 0xCA}
_OTHERS = (
    dict.fromkeys((0xC3, 0xCB), "lossless JPEG")
    | dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, _DHP), "hierarchical JPEG")
    | {0xF7: "JPEG-LS"}
)
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
# What the picture depends on: all tables, and of the applications' segments these.
_KEPT = {0xC4, 0xCC, 0xDB, 0xDD, _SOS, *_SEQUENTIAL, *_PROGRESSIVE}
_KEPT_APPLICATIONS = {0xE0: b"JFIF", 0xEE: b"Adobe", _APP2: _ICC}


@dataclass(frozen=True)
class _Segment:
    marker: int
    start: int  # of the marker
    end: int  # behind the payload

    def payload(self, data: Bytes, most: int = 2**16) -> bytes:
        return data[self.start + 4 : min(self.end, self.start + 4 + most)]


@dataclass
class _Findings:
    """What the segments before the first scan say."""

    frame: _Segment | None = None
    exif: bytes = b""  # the first of each counts
    xmp: bytes = b""
    profile: bool = False
    scan: _Segment | None = None


def read(data: Bytes) -> Header:
    """Return the header, with the file's own width and height. Raise CorruptImage, UnsupportedFormat, struct.error."""
    found = _Findings()
    for segment in _segments(data):
        if segment.marker in _OTHERS:
            raise UnsupportedFormat(
                f"{_OTHERS[segment.marker]} images are not supported; save it as baseline JPEG"
            )
        if segment.marker in _SEQUENTIAL | _PROGRESSIVE:
            if found.frame is not None:
                raise CorruptImage("the JPEG image has two frames; save it again")
            found.frame = segment
        elif segment.marker == _APP1:
            start = segment.payload(data, len(_XMP))
            if start.startswith(_EXIF):
                found.exif = found.exif or segment.payload(data)
            elif start == _XMP:
                found.xmp = found.xmp or segment.payload(data)
        elif segment.marker == _APP2:
            found.profile = found.profile or segment.payload(data, len(_ICC)) == _ICC
        found.scan = segment
    return _header(data, found)


def _header(data: Bytes, found: _Findings) -> Header:
    if found.frame is None or found.scan is None or found.scan.marker != _SOS:
        raise CorruptImage("the JPEG image is truncated before its pixels; use the complete file")
    precision, height, width, count = struct.unpack_from(">BHHB", data, found.frame.start + 4)
    scanned = data[found.scan.start + 4]
    if (
        found.frame.end - found.frame.start != 10 + 3 * count
        or found.scan.end - found.scan.start != 8 + 2 * scanned
    ):
        raise CorruptImage("a segment of the JPEG image's header is damaged; use the complete file")
    if precision != 8 or count not in _MODES:
        raise UnsupportedFormat(
            f"JPEG images with {count} channels of {precision} bits are not supported; "
            "use 1, 3 or 4 channels of 8 bits"
        )
    if not height:
        raise UnsupportedFormat(
            "JPEG images with their height behind the pixels are not supported; save it again"
        )
    sampling = [data[found.frame.start + 11 + 3 * index] for index in range(count)]
    across, down = [byte >> 4 for byte in sampling], [byte & 15 for byte in sampling]
    if not (min(across + down) >= 1 and max(across + down) <= 4):
        raise CorruptImage("the header of the JPEG image is damaged; use the complete file")
    columns, rows = -(-width // (8 * max(across))), -(-height // (8 * max(down)))
    samples = 64 * columns * rows * sum(a * d for a, d in zip(across, down, strict=True))
    scans, kind = 1, "baseline"
    if found.frame.marker in _PROGRESSIVE or scanned < count:
        kind = "progressive"
        scans = jpeg_scans(data, MOST_SCANS, found.scan.start)
        if scans > MOST_SCANS:
            raise CorruptImage(f"the JPEG image has more than {MOST_SCANS} scans; save it again")
    if not _has_end(data, found.scan.end):
        kind += WITHOUT_END
    return Header(
        "JPEG",
        width,
        height,
        kind,
        _MODES[count],
        len(data),
        orientation=upright_by(exif_orientation(found.exif), xmp_orientation(found.xmp)),
        profile=found.profile,
        # All coefficients of 2 bytes are in memory until the last scan.
        buffer=2 * samples if kind.startswith("progressive") else 0,
        samples=samples,
        passes=scans,
    )


def _segments(data: Bytes) -> Iterator[_Segment]:
    """Yield the segments up to the first scan's."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        marked = _first(_MARKER, data, at)
        if marked is None:
            return
        start, marker = marked.start(), data[marked.start() + 1]
        if marker == _EOI:
            return
        at = start + 2
        if marker in _LONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        at += length
        if length < 2 or at > len(data):
            raise CorruptImage("a segment of the JPEG image's header is damaged; use the complete file")
        yield _Segment(marker, start, at)
        if marker == _SOS:
            return
    raise CorruptImage(f"the JPEG image has more than {MOST_SEGMENTS} segments in its header; save it again")


def _first(marker: re.Pattern[bytes], data: Bytes, at: int) -> re.Match[bytes] | None:
    """Return the first match of a pattern of two bytes from `at` on."""
    for start in range(at, len(data), _SLICE - 1):  # slices share a byte, so that a match lies within one
        if found := marker.search(data, start, start + _SLICE):
            return found
    return None


def _has_end(data: Bytes, at: int) -> bool:
    """Whether the end marker, which cannot be within a scan, is anywhere from `at` on."""
    ends = range(len(data), at, 1 - _SLICE)
    return any(data.rfind(b"\xff\xd9", max(at, end - _SLICE), end) >= 0 for end in ends)


def jpeg_scans(data: Bytes, most: int, start: int = 2) -> int:
    """Return the number of scans from `start` on. Counting ends above `most`, and at the end of the picture."""
    scans, position, markers = 0, start, 0
    while scans <= most and markers < MOST_SCANS * 100 and (found := _first(_AFTER_SCAN, data, position)):
        markers += 1
        position = found.end()
        marker = data[position - 1]
        if marker == _EOI:
            break
        scans += marker == _SOS
        position += int.from_bytes(
            data[position : position + 2]
        )  # the segment's length, which includes itself
    return scans if markers < MOST_SCANS * 100 else most + 1


def essential(data: bytes) -> bytes:
    """Return the file without what its picture does not depend on: comments, EXIF, thumbnails and the like."""
    kept, profile, rest = [data[:2]], 0, len(data)
    for segment in _segments(data):
        name = _KEPT_APPLICATIONS.get(segment.marker)
        if segment.marker == _SOS:
            rest = segment.start
            break
        size = segment.end - segment.start
        if segment.marker == _APP2:
            profile += size
        if segment.marker in _KEPT or (
            name is not None and segment.payload(data, len(name)) == name and profile <= MOST_PROFILE
        ):
            kept.append(data[segment.start : segment.end])
    return b"".join([*kept, memoryview(data)[rest:]])


def next_restart(data: bytes) -> bytes:
    """Return the restart marker that would follow the last one; the first, if there is none."""
    last = max((data.rfind(bytes([0xFF, marker])), marker) for marker in range(0xD0, 0xD8))
    return bytes([0xFF, 0xD0 + (last[1] - 0xD0 + 1) % 8 if last[0] >= 0 else 0xD0])
