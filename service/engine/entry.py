"""A request inside the scheduler: what it is, what it waits for, and what it has so far."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from service.engine.request import Done, Item, P, Stage, Wish


@dataclass(eq=False)
class Entry(Generic[Item, P]):
    """Times are the event loop's, in seconds."""

    item: Item
    wish: Wish
    since: float
    due: float
    future: asyncio.Future[Done[P]]
    stage: Stage = "queue"
    pieces: Sequence[P] = ()
    begun: float = 0.0  # its coarse pass
    passed: float = 0.0  # the same, its end

    @property
    def padded(self) -> tuple[int, int]:
        return self.wish.padded

    @property
    def done(self) -> bool:
        return all(piece.done for piece in self.pieces)

    def pending(self) -> list[P]:
        return [piece for piece in self.pieces if not piece.done]


def fail(entry: Entry[Item, P], error: Exception) -> None:
    """Answer it with an error, unless it is answered."""
    if not entry.future.done():
        entry.future.set_exception(error)
