"""The memory for the bodies of all requests: who holds how much of it, and who must leave when it is full."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.errors import LONGEST_WAIT, BodiesFull
from service.http.problems import Problem

GRACE = 2.0  # seconds after which a sender's rate is known
DEPARTURES = 64  # bodies that left last, from which the rate of leaving is computed
MEMORY = 60.0  # seconds after which a departure is forgotten


class Body:
    """The share of one request's body in the memory for bodies.

    `held` is the number of its bytes, `dropped` whether they were needed for others.
    """

    def __init__(self, budget: BodyBudget) -> None:
        self.held = 0
        self.dropped = False
        self._budget = budget
        self._begun = self._last = budget.now()
        self._older = self._newer = (self._begun, 0)  # (time, bytes) between which the rate is measured
        self._drop: Callable[[], None] | None = None

    def receive(self, drop: Callable[[], None]) -> None:
        """Note that the body is on its way. From now on `drop` may be called once, after which it must end."""
        self._drop = drop

    def complete(self) -> None:
        """Note that nothing more comes."""
        self._drop = None

    def take(self, count: int) -> None:
        """Count the next bytes before they are kept.

        Raises BodiesFull if there is no room, Problem if this is the sender that has to make room.
        """
        self._budget.make_room(self, count)
        self._last = self._budget.now()
        if self._last - self._newer[0] >= GRACE:
            self._older, self._newer = self._newer, (self._last, self.held)
        self.held += count
        self._budget.held += count

    def release(self) -> None:
        """Give all bytes back."""
        self._budget.held -= self.held
        self.held = 0

    def too_slow(self) -> Problem:
        """Return the problem of a sender that has to make room."""
        return Problem(
            "slow-body",
            "the memory for bodies is full, and this one came with less than "
            f"{self._budget.slow:.0f} bytes a second",
        )

    def rate(self) -> float:
        """Return the bytes a second that came last: inf if that is not known yet or does not matter any more."""
        now = self._budget.now()
        if self._drop is None or now - self._begun < GRACE:
            return math.inf
        if now - self._last >= GRACE:
            return 0.0
        since, before = self._older
        return (self.held - before) / (now - since)

    def drop(self) -> None:
        """Give the bytes back and end the receiving."""
        assert self._drop is not None
        self.release()
        self.dropped = True
        self._drop()
        self._drop = None


class BodyBudget:
    """Shares `limit` bytes among all bodies that are being received or worked on.

    Bytes count when they have come, not when they are announced. When they are too many, the slowest sender is dropped,
    if it is slower than `slow` bytes a second; if there is none, whoever brings the next bytes must come again later.
    """

    def __init__(self, limit: int, slow: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.held = 0  # bytes of all bodies
        self.now = now
        self.slow = slow
        self._bodies: set[Body] = set()
        self._left: deque[tuple[float, int]] = deque(maxlen=DEPARTURES)  # (time, bytes)
        self._promised = 0.0  # the time at which all who were told to come again will have found room

    @contextmanager
    def reserve(self) -> Iterator[Body]:
        """Yield the share of one body, all of which is given back at the end of the context."""
        body = Body(self)
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._bodies.remove(body)
            if body.held:
                self._left.append((self.now(), body.held))
                body.release()

    def make_room(self, body: Body, count: int) -> None:
        """Drop slow senders until `count` bytes fit. A body that is alone may have any size.

        Raises BodiesFull if none is slow enough, Problem if `body` itself is the slowest.
        """
        while self.held + count > self.limit and self.held > body.held:
            # One that holds nothing makes no room. Another than `body` holds something, by the condition above.
            slowest = min((each for each in self._bodies if each.held), key=Body.rate)
            if slowest.rate() >= self.slow:
                raise BodiesFull(
                    f"the bodies of all requests may take {self.limit} bytes together; try again later",
                    self._wait(),
                )
            if slowest is body:
                raise body.too_slow()
            slowest.drop()

    def _wait(self) -> float | None:
        """Return the seconds until one more body has room, after all who were promised this before.

        None if nothing has left yet.
        """
        now = self.now()
        while self._left and now - self._left[0][0] > MEMORY:
            self._left.popleft()
        if not self._left:
            return None
        total = sum(count for _, count in self._left)
        usual, rate = total / len(self._left), total / max(now - self._left[0][0], 1.0)
        self._promised = min(max(now, self._promised) + usual / rate, now + LONGEST_WAIT)
        return self._promised - now
