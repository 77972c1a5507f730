"""Where requests wait for their turn to be decoded, or to have their answer encoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.engine.queue.budget import Budget


@dataclass(frozen=True)
class Need:
    """What a piece of work is predicted to take: bytes of memory at most, and seconds of one core."""

    bytes: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class _Waiter:
    due: float
    need: Need
    may_begin: Callable[[], bool]
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def _always() -> bool:
    return True


class Gate:
    """Lets work begin in the order in which it is due, while there are places and memory for it.

    Long work leaves one place free, so that short work never waits until a long piece has ended. Work that cannot begin
    yet is overtaken by what comes after it, but no longer once its time has come: then the memory that is given back
    is left to it.
    """

    def __init__(self, places: int, memory: Budget, long_seconds: float) -> None:
        """`long_seconds`: from how many predicted seconds on a piece of work is long."""
        self.memory = memory
        self._places = places
        self._long_seconds = long_seconds
        self._waiting: list[_Waiter] = []
        self._running = 0
        self._running_long = 0

    @property
    def waiting(self) -> int:
        """The number of pieces of work that have not begun."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(
        self, due: float, need: Need, may_begin: Callable[[], bool] = _always
    ) -> AsyncIterator[None]:
        """Wait for a place and memory, and hold them while the context is open.

        `may_begin` is a further condition. Whoever makes it true calls `update`.
        """
        waiter = _Waiter(due, need, may_begin)
        self._waiting.append(waiter)
        self.update()
        try:
            await waiter.begun
            yield
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self._count(waiter, -1)
            self.update()

    def update(self) -> None:
        """Let work begin that can begin now."""
        now = asyncio.get_running_loop().time()
        for waiter in sorted(self._waiting, key=lambda waiter: waiter.due):
            if waiter.begun.cancelled():  # it is about to be removed
                continue
            if self._running >= self._places:
                return
            if not self._has_place(waiter) or not waiter.may_begin():
                continue
            if self.memory.fits(waiter.need.bytes):
                self._waiting.remove(waiter)
                self._count(waiter, 1)
                waiter.begun.set_result(None)
            elif waiter.due <= now:
                return

    def _has_place(self, waiter: _Waiter) -> bool:
        return not self._is_long(waiter) or self._running_long < max(1, self._places - 1)

    def _is_long(self, waiter: _Waiter) -> bool:
        return waiter.need.seconds > self._long_seconds

    def _count(self, waiter: _Waiter, sign: int) -> None:
        self._running += sign
        self._running_long += sign * self._is_long(waiter)
        self.memory.take(sign * waiter.need.bytes)
