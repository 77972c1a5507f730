"""JSON as text in pieces.

`json.dumps` of a large answer would hold the interpreter's lock, and with it the event loop, for the whole text; and
lists of numbers take ten times their text's memory. So long parts are written from arrays, a few thousand numbers at a
time. The text is that of `json.dumps` without spaces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PART = 1 << 14  # numbers that are written at a time


@dataclass(frozen=True)
class Text:
    """A JSON value as text; `pieces` make it up together."""

    pieces: Sequence[bytes]

    def joined(self) -> bytes:
        """Return the whole text."""
        return b"".join(self.pieces)


def written(value: Any) -> Text:
    """Return a value as text, unless it is text already."""
    if isinstance(value, Text):
        return value
    return Text([json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()])


def object_text(members: Mapping[str, Any]) -> Text:
    """Return an object. Members may be text already."""
    named = (
        [json.dumps(name, ensure_ascii=False).encode(), b":", *written(value).pieces]
        for name, value in members.items()
    )
    return Text([b"{", *_separated(named), b"}"])


def array_text(items: Iterable[Any]) -> Text:
    """Return an array. Items may be text already."""
    return Text([b"[", *_separated(written(item).pieces for item in items), b"]"])


def numbers_text(numbers: NDArray[np.integer[Any]], decimals: int = 0) -> Text:
    """Return an array of integers, or of these divided by 10 to the power of `decimals`."""
    if not numbers.size:
        return Text([b"[]"])
    closed = np.zeros(numbers.size, np.uint8)
    closed[-1] = 1
    return nested_text(numbers, closed, decimals)


def lists_text(numbers: NDArray[np.integer[Any]], stops: Sequence[int]) -> Text:
    """Return an array of arrays of integers. Array i ends before number `stops[i]`."""
    if not stops:
        return Text([b"[]"])
    closed = np.zeros(numbers.size, np.uint8)
    closed[np.array(stops) - 1] = 1
    closed[-1] = 2
    return nested_text(numbers, closed)


def nested_text(numbers: NDArray[np.integer[Any]], closed: NDArray[np.uint8], decimals: int = 0) -> Text:
    """Return arrays within arrays of integers, or of these divided by 10 to the power of `decimals`.

    `closed` says how many arrays end after each number. The last one, of at least one number, ends all of them.
    """
    depth = int(closed[-1])
    pieces = [
        _digits(part, ends, decimals) for part, ends in zip(_parts(numbers), _parts(closed), strict=True)
    ]
    pieces[-1] = pieces[-1].removesuffix(b"," + b"[" * depth)
    return Text([b"[" * depth, *pieces])


def _separated(items: Iterable[Sequence[bytes]]) -> list[bytes]:
    pieces: list[bytes] = []
    for item in items:
        if pieces:
            pieces.append(b",")
        pieces += item
    return pieces


def _parts(values: NDArray[Any]) -> Iterable[NDArray[Any]]:
    return (values[start : start + _PART] for start in range(0, values.size, _PART))


def _digits(numbers: NDArray[np.integer[Any]], closed: NDArray[np.uint8], decimals: int) -> bytes:
    """Return numbers, and after each a comma with as many brackets before and after it as arrays are closed."""
    magnitude = np.abs(numbers)
    largest = int(magnitude.max())
    width, point = max(len(str(largest)), decimals + 1), int(decimals > 0)
    after = _separators(int(closed.max()))
    characters = np.empty((numbers.size, 1 + width + point + after.shape[1]), np.uint8)
    characters[:, 0] = np.where(numbers < 0, ord("-"), 0)
    characters[:, 1 + width + point :] = after[0]
    ends = np.flatnonzero(closed)
    characters[ends, 1 + width + point :] = after[closed[ends]]
    rest = magnitude.astype(np.int32 if largest < 2**31 else np.int64)
    for place in reversed(range(width)):
        fraction = place >= width - decimals
        following = rest // 10
        at = 1 + place + (point if fraction else 0)
        characters[:, at] = rest - following * 10 + ord("0")
        if place < width - decimals - 1:
            characters[rest == 0, at] = 0  # no leading zeros
        rest = following
    if point:
        characters[:, 1 + width - decimals] = ord(".")
    flat = characters.reshape(-1)
    return flat[flat > 0].tobytes()


def _separators(most: int) -> NDArray[np.uint8]:
    """Return what stands between two numbers if 0 … `most` arrays end between them, filled up with zeros."""
    rows = [b"]" * count + b"," + b"[" * count for count in range(most + 1)]
    return np.frombuffer(b"".join(row.ljust(2 * most + 1, b"\0") for row in rows), np.uint8).reshape(
        most + 1, -1
    )
