"""What a header check costs, in numbers that do not depend on the machine."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from model.predict.headers import jpeg, orientation, png
from model.predict.image_errors import ImageError

MOST_STEPS = 1_000_000  # lines of Python that one check may run: about a second
MOST_INFLATED = 2**20  # bytes, of the whole file: about 5 ms
MOST_AT_ONCE = 2**20  # bytes that one search may see, while no other thread runs: about 10 ms
_PATTERNS = ((jpeg, "_MARKER"), (jpeg, "_AFTER_SCAN"), (orientation, "_XMP"))


@dataclass
class Work:
    """What a call has done. Each number raises AssertionError as soon as it is too large."""

    steps: int = 0
    inflated: int = 0
    compressed: int = 0  # bytes that were to be inflated
    searched: int = 0  # bytes, of all searches

    def line(self, _: FrameType, event: str, __: Any) -> Any:
        self.steps += event == "line"
        assert self.steps <= MOST_STEPS
        return self.line

    def inflate(self, inflater: Any, compressed: bytes, most: int = 0) -> bytes:
        plain: bytes = inflater.decompress(compressed, most)
        self.inflated += len(plain)
        self.compressed += len(compressed)
        assert max(self.inflated, self.compressed // 2) <= MOST_INFLATED
        return plain

    def search(self, size: int, begin: int, end: int | None) -> None:
        seen = max(0, min(size, size if end is None else end) - begin)
        self.searched += seen
        assert seen <= MOST_AT_ONCE


@dataclass(frozen=True)
class _Inflater:
    work: Work
    own: Any

    def decompress(self, compressed: bytes, most: int = 0) -> bytes:
        return self.work.inflate(self.own, compressed, most)

    @property
    def unconsumed_tail(self) -> bytes:
        return bytes(self.own.unconsumed_tail)


@dataclass(frozen=True)
class _Pattern:
    work: Work
    own: Any

    def search(self, data: bytes, begin: int = 0, end: int = sys.maxsize) -> Any:
        # What is seen ends with what is found.
        found = self.own.search(data, begin, end)
        self.work.search(len(data), begin, found.end() if found else end)
        return found


def watched(data: bytes, work: Work) -> bytes:
    """Return the same bytes, whose searches from the end are counted. Slices are not watched."""

    class Watched(bytes):
        def rfind(self, what: Any, begin: Any = 0, end: Any = None) -> int:
            work.search(len(self), begin, end)
            return super().rfind(what, begin, end)

    return Watched(data)


def work_of(check: Callable[[bytes], object], data: bytes, *, lines: bool = True) -> Work:
    """Return what a check of some bytes does; ImageError is an answer. Lines are counted unless `lines` is false."""
    work = Work()
    inflating = SimpleNamespace(
        decompressobj=lambda: _Inflater(work, zlib.decompressobj()), error=zlib.error, crc32=zlib.crc32
    )
    patches: list[Any] = [patch.object(png, "zlib", inflating)]
    patches += [
        patch.object(module, name, _Pattern(work, getattr(module, name))) for module, name in _PATTERNS
    ]
    before = sys.gettrace()
    for each in patches:
        each.start()
    if lines:
        sys.settrace(work.line)
    try:
        check(watched(data, work))
    except ImageError:
        pass
    finally:
        sys.settrace(before)
        for each in patches:
            each.stop()
    return work
