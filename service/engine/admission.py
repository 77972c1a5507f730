"""How many requests may be inside: they are bounded by what they will cost, and so is the time that they wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.cost import Rate
from service.engine.errors import QueueFull


class Admission:
    """Counts the requests inside, from decoding to the encoded answer, and the seconds of the device they will take.

    `stretch` is the scheduler's (see `BatchLimits`), because the request that is due first leaves first.
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
        self._places: dict[object, tuple[float, float]] = {}  # due and cost, in seconds
        self._since = 0.0  # when the last request left, or the first one came
        # Seconds that pass until a predicted second of work has left. Other models, other work on the machine, and
        # wrong predictions make it more or less than 1.
        self._pace = Rate(1.0)
        self.backlog = 0.0  # predicted seconds of all requests inside

    @property
    def inside(self) -> int:
        """The number of requests inside."""
        return len(self._places)

    @property
    def pressure(self) -> float:
        """The share of the queue that is taken, by cost or by number, whichever is more."""
        return max(self.backlog / self._limit, self.inside / self._length)

    def check(self, cost: float) -> None:
        """Raise QueueFull if a request of `cost` seconds could not come in now."""
        if not self._has_room(cost, self.inside, self.backlog):
            raise QueueFull(self._wait(cost))

    @contextmanager
    def place(self, cost: float) -> Iterator[None]:
        """Hold a place for a request of `cost` seconds. Raise QueueFull if there is none.

        A request always has one if no other request is inside.
        """
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
        if self._places:  # a lone request says nothing of the pace
            self._pace.add(cost, now - self._since)
        self._since = now
        self.backlog = self.backlog - cost if self._places else 0.0  # leaves no rounding error behind

    def _has_room(self, cost: float, inside: int, backlog: float) -> bool:
        return not inside or (inside < self._length and backlog + cost <= self._limit)

    def _wait(self, cost: float) -> float:
        """Return the predicted seconds until so many requests have left that there is room for `cost`."""
        left = 0.0
        for n, (_, own) in enumerate(sorted(self._places.values()), 1):
            left += own
            if self._has_room(cost, self.inside - n, self.backlog - left):
                break
        return left * self._pace.value - (self._clock() - self._since)
