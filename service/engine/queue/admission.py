"""How many requests may be inside: they are bounded by what they will cost, and so is the time that they wait.

A request that finds no room is told when to come back. That is a promise: until then its cost counts against the room
for others who come anew, so that those who do as they were told find the room that they were promised.
"""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.engine.errors import QueueFull, retry_after
from service.engine.queue.cost import Rate

LARGE_SHARE = 1 / 2  # of the queue that large requests may take together, and the largest one alone
FREE_SHARE = 1 / 2  # of the room that is free to all who come: promises may not be kept
PATIENCE = 5.0  # seconds after the promised time for which a promise holds
PROMISED = 2  # times the room that may be promised; who is refused beyond that is told the longest time


@dataclass(frozen=True, order=True)
class _Work:
    """A request inside, or one that was told to come back."""

    when: float  # it is due, or may come back
    cost: float  # seconds
    large: bool


@dataclass
class _Load:
    """Requests that take room: how many, and their seconds; large ones apart."""

    count: int = 0
    seconds: float = 0.0
    large_count: int = 0
    large_seconds: float = 0.0

    def add(self, works: Iterable[_Work], sign: int = 1) -> _Load:
        """Count these as well, or no longer if `sign` is -1. Return itself."""
        for work in works:
            if work.large:
                self.large_count += sign
                self.large_seconds += sign * work.cost
            else:
                self.count += sign
                self.seconds += sign * work.cost
        return self


class Admission:
    """Counts the requests inside, from their arrival to the encoded answer, and the seconds of work that they mean.

    `seconds` and `length` bound both; all models share them. Whether a request is large is for the caller to say. Large
    ones have half of the room at most, so they cannot keep the others out. `stretch` is the scheduler's (see
    `BatchLimits`), because the request that is due first leaves first.
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
        self._places: dict[object, _Work] = {}
        self._promises: list[_Work] = []  # in the order of their times
        self._since = 0.0  # when the last request left, or the first one came
        # Seconds that pass until a predicted second of work has left. Other work on the machine and wrong predictions
        # make it more or less than 1.
        self._pace = Rate(1.0)
        self.backlog = 0.0  # predicted seconds of all requests inside

    @property
    def inside(self) -> int:
        """The number of requests inside."""
        return len(self._places)

    @property
    def promised(self) -> int:
        """The number of requests that were told to come back and may still do so."""
        self._expire()
        return len(self._promises)

    @property
    def most_seconds(self) -> float:
        """The predicted seconds that one request may take."""
        return LARGE_SHARE * self._limit

    @property
    def pressure(self) -> float:
        """The share of the queue that is taken, by cost or by number, whichever is more."""
        return max(self.backlog / self._limit, self.inside / self._length)

    @property
    def fullness(self) -> float:
        """The share of the queue that is taken or promised, by cost or by number, whichever is more; 1 at most.

        While requests are refused it is near 1, though `pressure` may be half: the other half is kept for those who
        were told to come back.
        """
        self._expire()
        promised = sum(work.cost for work in self._promises)
        by_cost = (self.backlog + promised) / self._limit
        return min(1.0, max(by_cost, (self.inside + len(self._promises)) / self._length))

    def check(self, cost: float, *, large: bool = False) -> None:
        """Raise QueueFull if a request of `cost` seconds could not come in now. It then has a promise."""
        if not self._admits(cost, large):
            self._redeem(large)
            raise self._refusal(cost, large)

    @contextmanager
    def place(self, cost: float, *, large: bool = False) -> Iterator[None]:
        """Hold a place for a request of `cost` seconds. Raise QueueFull if there is none.

        A request always has one if no other request is inside.
        """
        self.check(cost, large=large)
        self._redeem(large)
        now, key = self._clock(), object()
        if not self._places:
            self._since = now
        self._places[key] = _Work(now + self._stretch * cost, cost, large)
        self.backlog += cost
        try:
            yield
        except BaseException:
            del self._places[key]
            self._leave(cost, answered=False)
            raise
        del self._places[key]
        self._leave(cost, answered=True)

    def _leave(self, cost: float, *, answered: bool) -> None:
        """Take a request out. What was not answered says nothing of the pace, nor does a lone request."""
        now = self._clock()
        if answered and self._places:
            self._pace.add(cost, now - self._since)
        if answered:
            self._since = now
        self.backlog = self.backlog - cost if self._places else 0.0  # leaves no rounding error behind

    def _admits(self, cost: float, large: bool) -> bool:
        self._expire()
        load, promised = self._load(), self._promises_of(large)
        if not promised or promised[0].when <= self._clock():
            return self._has_room(cost, large, load)
        return self._has_room(cost, large, load, FREE_SHARE) or self._has_room(
            cost, large, load.add(promised)
        )

    def _load(self) -> _Load:
        return _Load().add(self._places.values())

    def _has_room(self, cost: float, large: bool, load: _Load, share: float = 1.0) -> bool:
        """Return whether there is room for a request beside this load, or within this share of the room.

        Large requests have half of the queue. The others have what large ones leave of it.
        """
        if not load.count and not load.large_count:
            return True
        if large:
            few = load.large_count < max(1, LARGE_SHARE * self._length)
            cheap = load.large_seconds + cost <= share * LARGE_SHARE * self._limit
            if not few or not (cheap or not load.large_count):
                return False
            share = 1.0
        seconds, count = self._limit - load.large_seconds, self._length - load.large_count
        return load.seconds + cost <= share * seconds and load.count < share * count

    def _promises_of(self, large: bool) -> list[_Work]:
        """Return the promises to large requests, or those to the others: each kind has room of its own."""
        return [work for work in self._promises if work.large == large]

    def _redeem(self, large: bool) -> None:
        """Forget the promise that a request of this kind comes back for: whoever comes when it is time."""
        promised = self._promises_of(large)
        if promised and promised[0].when <= self._clock():
            self._promises.remove(promised[0])

    def _refusal(self, cost: float, large: bool) -> QueueFull:
        error = QueueFull(self._wait(cost, large))
        promised = self._promises_of(large)
        seconds = sum(work.cost for work in promised)
        if seconds + cost <= PROMISED * self._limit and len(promised) < PROMISED * self._length:
            insort(self._promises, _Work(self._clock() + retry_after(error), cost, large))
        return error

    def _wait(self, cost: float, large: bool) -> float:
        """Return the predicted seconds until there is room for `cost`, behind all inside and all who have a promise."""
        promised, left = self._promises_of(large), 0.0
        load = self._load().add(promised)
        for work in (*sorted(self._places.values()), *promised):
            left += work.cost
            if self._has_room(cost, large, load.add((work,), -1)):
                break
        return left * self._pace.value - (self._clock() - self._since)

    def _expire(self) -> None:
        now = self._clock()
        while self._promises and self._promises[0].when + PATIENCE < now:
            del self._promises[0]
