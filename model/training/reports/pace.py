"""How fast a run is, and when it will end: said after its first steps, and now and then in a log without a bar."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST = 10  # steps after which the pace is known well enough
_WARM_UP = 2  # steps that don't count: the readers of images begin, and memory is taken
_EVERY = 300.0  # seconds between two lines of a log


class Pace:
    """The time that a run's steps take, without its pauses."""

    def __init__(
        self, start: int, steps: int, *, watched: bool, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Begin before the step after `start` of `steps`; `watched`: a bar shows the progress."""
        self._start, self._steps, self._watched, self._clock = start, steps, watched, clock
        self._counted, self._seconds = 0, 0.0
        self._since = self._said = clock()

    def pause_ended(self) -> None:
        """Leave out the time since the last step, in which nothing trained."""
        self._since = self._clock()

    def step(self, done: int, loss: float) -> str | None:
        """Take in that `done` steps are done; return what is to be said now, if anything."""
        now = self._clock()
        if done - self._start > _WARM_UP:
            self._counted, self._seconds = self._counted + 1, self._seconds + now - self._since
        self._since = now
        left = self._steps - done
        if left <= 0 or not self._counted:
            return None
        each = self._seconds / self._counted
        if done - self._start == FIRST:
            self._said = now
            return (
                f"time: about {duration(each * left)} for the {left} steps left, at {each:.2g} s a step, without "
                "validations; Ctrl-C stops, --resume goes on, --steps sets another length"
            )
        if self._watched or self._counted < FIRST or now - self._said < _EVERY:
            return None
        self._said = now
        return f"step {done} of {self._steps}: loss {loss:.3f}, about {duration(each * left)} left"


def duration(seconds: float) -> str:
    """Return a time in words, to two figures: "40 s", "9 min", "2 h 10 min", "3 days 4 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{round(hours + minutes / 60)} h"
    days, hours = divmod(round(hours + minutes / 60), 24)
    return f"{days} day{'s' * (days > 1)}" + (f" {hours} h" if hours else "")
