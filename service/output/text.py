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
_NEXT, _BREAK = b",\0\0", b"],["


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


def numbers_text(numbers: NDArray[np.integer[Any]]) -> Text:
    """Return an array of integers from 0 to 2³¹ - 1."""
    return Text([b"[", *_separated([_digits(part, None)[:-1]] for part in _parts(numbers)), b"]"])


def lists_text(numbers: NDArray[np.integer[Any]], stops: Sequence[int]) -> Text:
    """Return an array of arrays of integers from 0 to 2³¹ - 1. Array i ends before number `stops[i]`."""
    if not stops:
        return Text([b"[]"])
    last = np.zeros(numbers.size, np.bool_)
    last[np.array(stops) - 1] = True
    pieces = [_digits(part, ends) for part, ends in zip(_parts(numbers), _parts(last), strict=True)]
    pieces[-1] = pieces[-1].removesuffix(b",[")
    return Text([b"[[", *pieces, b"]"])


def _separated(items: Iterable[Sequence[bytes]]) -> list[bytes]:
    pieces: list[bytes] = []
    for item in items:
        if pieces:
            pieces.append(b",")
        pieces += item
    return pieces


def _parts(values: NDArray[Any]) -> Iterable[NDArray[Any]]:
    return (values[start : start + _PART] for start in range(0, values.size, _PART))


def _digits(numbers: NDArray[np.integer[Any]], last: NDArray[np.bool_] | None) -> bytes:
    """Return numbers, with a comma after each, or what separates two arrays after the `last` of one."""
    width = len(str(int(numbers.max())))
    characters = np.empty((numbers.size, width + 3), np.uint8)
    characters[:, width:] = np.frombuffer(_NEXT, np.uint8)
    if last is not None:
        characters[last, width:] = np.frombuffer(_BREAK, np.uint8)
    rest = numbers.astype(np.int32)
    for place in reversed(range(width)):
        following = rest // 10
        characters[:, place] = rest - following * 10 + ord("0")
        if place < width - 1:
            characters[rest == 0, place] = 0  # no leading zeros
        rest = following
    flat = characters.reshape(-1)
    return flat[flat > 0].tobytes()
