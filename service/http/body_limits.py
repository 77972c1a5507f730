"""How many bytes of bodies may be inside at once: what is received is memory before anything else bounds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.admission import QueueFull

Take = Callable[[int], None]


class Bodies:
    """Counts the bytes of all bodies that are being received or worked on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    @contextmanager
    def room(self) -> Iterator[Take]:
        """For one body: call what it gives with the number of bytes of each part, before keeping it.

        That raises QueueFull where there is no more room; a lone body may have any size. All is given back
        at the end.
        """
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.held > own and self.held + count > self._limit:
                raise QueueFull(1)
            own += count
            self.held += count

        try:
            yield take
        finally:
            self.held -= own
