"""Who may come in: requests inside are bounded by what they will cost, so waiting is bounded, too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.cost import Rate

LONGEST = 60  # s that anybody is told to wait


class QueueFull(Exception):
    """No room for another request; `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Admission:
    """Counts requests inside, from decoding to the encoded answer, and the device's seconds they will take.

    `stretch` is the scheduler's (service/engine/batching.py): who is due first leaves first.
    """

    def __init__(
        self,
        *,
        seconds: float,
        length: int,
        stretch: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._length, self._stretch, self._clock = seconds, length, stretch, clock
        self._places: dict[object, tuple[float, float]] = {}  # due and cost, s
        self._since = 0.0  # the last one left, or the first came
        self._pace = Rate(
            1.0
        )  # seconds for a predicted second to leave: other models, other work, wrong predictions
        self.backlog = 0.0  # s

    @property
    def inside(self) -> int:
        return len(self._places)

    @property
    def pressure(self) -> float:
        """Share of the queue that is taken, by cost or by number, whichever is more."""
        return max(self.backlog / self._limit, self.inside / self._length)

    def check(self, cost: float) -> None:
        """Raises QueueFull if a request of `cost` seconds could not come in now."""
        if not self._room(cost, self.inside, self.backlog):
            raise QueueFull(min(LONGEST, max(1, math.ceil(self._wait(cost)))))

    @contextmanager
    def place(self, cost: float) -> Iterator[None]:
        """A place for a request of `cost` seconds. One is always let in when nobody else is. Raises QueueFull."""
        self.check(cost)
        now, key = self._clock(), object()
        if not self._places:
            self._since = now
        self._places[key] = now + self._stretch * cost, cost
        self.backlog += cost
        try:
            yield
        finally:
            del self._places[key]
            self._leave(cost)

    def _leave(self, cost: float) -> None:
        now = self._clock()
        if self._places:  # alone, it was not held up by anybody
            self._pace.add(cost, now - self._since)
        self._since = now
        self.backlog = self.backlog - cost if self._places else 0.0  # no rounding error stays behind

    def _room(self, cost: float, inside: int, backlog: float) -> bool:
        return not inside or (inside < self._length and backlog + cost <= self._limit)

    def _wait(self, cost: float) -> float:
        """Seconds until so many have left that there is room for `cost`."""
        left = 0.0
        for n, (_, own) in enumerate(sorted(self._places.values()), 1):
            left += own
            if self._room(cost, self.inside - n, self.backlog - left):
                break
        return left * self._pace.value - (self._clock() - self._since)
