"""What a worker is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from model.predict.headers import Header

LARGE_SECONDS = 0.25  # a normal photograph takes a tenth of it
LARGE_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Job:
    """One picture to decode and resize."""

    data: bytes  # the whole file
    header: Header
    size: tuple[int, int]  # height and width of the result
    bytes: int  # memory that decoding takes at most
    seconds: float  # CPU time that decoding usually takes
    wall: float  # seconds after which the picture counts as one that takes too long

    @property
    def large(self) -> bool:
        """Whether other jobs go first, and the worker ends after it, which gives its memory back."""
        return self.seconds > LARGE_SECONDS or self.bytes > LARGE_BYTES

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the result."""
        return (*self.size, 3)
