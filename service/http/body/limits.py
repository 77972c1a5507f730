"""The bound on the bytes of all request bodies in memory, whatever is later found in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.errors import BodiesFull

Take = Callable[[int], None]


class BodyBudget:
    """Counts the bytes of all bodies that are being received or worked on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    @contextmanager
    def reserve(self) -> Iterator[Take]:
        """Yield a function to call with the number of bytes of each part of one body, before the part is kept.

        That function raises BodiesFull if there is no room for the part; a body alone may have any size. All bytes
        are given back at the end of the context.
        """
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.held > own and self.held + count > self._limit:
                raise BodiesFull(
                    f"the bodies of all requests may take {self._limit} bytes together; try again later"
                )
            own += count
            self.held += count

        try:
            yield take
        finally:
            self.held -= own
