"""Who may come in: requests inside are bounded by what they will cost, so waiting is bounded, too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager


class QueueFull(Exception):
    """No room for another request; `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Admission:
    """Counts requests inside, from decoding to the encoded answer, and the device's seconds they will take."""

    def __init__(self, *, seconds: float, length: int) -> None:
        self._limit, self._length = seconds, length
        self.inside = 0
        self.backlog = 0.0  # s

    @property
    def pressure(self) -> float:
        """Share of the queue that is taken, by cost or by number, whichever is more."""
        return max(self.backlog / self._limit, self.inside / self._length)

    def check(self, cost: float) -> None:
        """Raises QueueFull if a request of `cost` seconds could not come in now."""
        over = self.backlog + cost - self._limit
        if self.inside and (over > 0 or self.inside >= self._length):
            raise self._full(over)

    def _full(self, over: float) -> QueueFull:
        # One place is free when the mean request is done; room for the cost, when that much is.
        return QueueFull(min(60, max(1, math.ceil(max(over, self.backlog / self.inside)))))

    @contextmanager
    def place(self, cost: float) -> Iterator[None]:
        """A place for a request of `cost` seconds. One is always let in when nobody else is. Raises QueueFull."""
        self.check(cost)
        self.inside += 1
        self.backlog += cost
        try:
            yield
        finally:
            self.inside -= 1
            self.backlog = self.backlog - cost if self.inside else 0.0  # no rounding error stays behind
