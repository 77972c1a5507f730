"""How many connections may be open, and which one is closed for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

REFUSING = 8  # connections beyond the limit that are told why; further ones are closed without a word


class Droppable(Protocol):
    """A connection, as far as it is counted."""

    def drop(self) -> None:
        """Close at once."""
        ...


@dataclass(frozen=True)
class OpenConnections:
    """The connections of one server, of which there may be `limit`."""

    limit: int
    _open: set[Droppable] = field(default_factory=set)
    _idle: dict[Droppable, None] = field(default_factory=dict)  # without a request, longest first
    _refused: set[Droppable] = field(default_factory=set)

    def admit(self, connection: Droppable) -> bool:
        """Count a new connection and return whether it may stay.

        If there are too many, the one is dropped that has been without a request for the longest time.
        """
        if len(self._open) >= self.limit:
            if not self._idle:
                return False
            oldest = next(iter(self._idle))
            self.closed(oldest)
            oldest.drop()
        self._open.add(connection)
        return True

    def refuse(self, connection: Droppable) -> bool:
        """Return whether a connection that was not admitted may be told why."""
        if len(self._refused) >= REFUSING:
            return False
        self._refused.add(connection)
        return True

    def idle(self, connection: Droppable) -> None:
        """Note that a connection waits for a request, or has had its last answer."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._idle[connection] = None

    def busy(self, connection: Droppable) -> None:
        """Note that a connection has a request."""
        self._idle.pop(connection, None)

    def closed(self, connection: Droppable) -> None:
        """Forget a connection, however it ended."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._refused.discard(connection)

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._open)
