"""Directories of tags, as TIFF and EXIF have them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from model.predict.headers.header import Bytes

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
# type → bytes of a value
SIZES = {
    BYTE: 1,
    ASCII: 1,
    SHORT: 2,
    LONG: 4,
    RATIONAL: 8,
    6: 1,
    UNDEFINED: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    LONG8: 8,
}
_INTEGERS = {BYTE: "B", SHORT: "H", LONG: "I", LONG8: "Q", 13: "I"}
MOST_ENTRIES = 4096  # far more than any writer's


@dataclass(frozen=True)
class Entry:
    """One tag; its values lie within the file."""

    type: int
    count: int
    at: int  # where the values begin

    @property
    def size(self) -> int:
        """Return the bytes of all values."""
        return self.count * SIZES[self.type]


@dataclass(frozen=True)
class Ifd:
    """One directory. Entries of unknown types, without values, or with values outside of the file are left out."""

    data: Bytes
    order: str  # "<" or ">"
    big: bool  # 64-bit offsets
    entries: dict[int, Entry]

    def numbers(self, tag: int, most: int = 1) -> tuple[int, ...]:
        """Return at most so many values of a tag. None of them if there is no such tag, or if they are no integers."""
        entry = self.entries.get(tag)
        if entry is None or entry.type not in _INTEGERS:
            return ()
        count = min(entry.count, most)
        return struct.unpack_from(f"{self.order}{count}{_INTEGERS[entry.type]}", self.data, entry.at)

    def number(self, tag: int, default: int) -> int:
        """Return the first value of a tag, or `default` if there is none."""
        return next(iter(self.numbers(tag)), default)


def tiff_start(data: Bytes) -> tuple[int, str, bool] | None:
    """Return where the first directory is, the order of bytes, and whether offsets have 64 bits.

    None if the data does not begin as a TIFF file does.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    magic = data[2:4]
    if magic in (b"*\0", b"\0*"):
        (offset,) = struct.unpack_from(order + "I", data, 4)
        return offset, order, False
    if magic == (b"+\0" if order == "<" else b"\0+") and len(data) >= 16:
        (offset,) = struct.unpack_from(order + "Q", data, 8)
        return offset, order, True
    return None


def ifd_at(data: Bytes, offset: int, order: str, big: bool) -> Ifd:
    """Return the directory at `offset`, with as many entries as the file has of it. Of equal tags the first counts."""
    head, form = ("Q", "HHQ8x") if big else ("H", "HHI4x")
    first, step, inline = offset + struct.calcsize("=" + head), struct.calcsize("=" + form), 8 if big else 4
    entries: dict[int, Entry] = {}
    if first > len(data):
        return Ifd(data, order, big, entries)
    (count,) = struct.unpack_from(order + head, data, offset)
    for index in range(min(count, MOST_ENTRIES, (len(data) - first) // step)):
        at = first + index * step
        tag, kind, values = struct.unpack_from(order + form, data, at)
        if tag in entries or kind not in SIZES or not values:
            continue
        where = at + step - inline
        if values * SIZES[kind] > inline:
            (where,) = struct.unpack_from(order + ("Q" if big else "I"), data, where)
        entry = Entry(kind, values, where)
        if where + entry.size <= len(data):
            entries[tag] = entry
    return Ifd(data, order, big, entries)
