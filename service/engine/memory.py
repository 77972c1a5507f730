"""Memory that was kept for speed is given back once no request has been inside for a while.

ONNX Runtime keeps what its largest pass took, and the C library keeps what was freed between blocks that are in use.
Neither gives it back by itself, so a service would hold its busiest minute's memory for good.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

QUIET_SECONDS = 30.0  # without any request; a client that comes back later pays some milliseconds once
CHECK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def trim_heap() -> None:
    """Give the free pages of the C library's heaps back to the system. Without glibc, do nothing."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return


@dataclass(eq=False)
class QuietMemory:
    """Gives memory back, once in every period in which no request has been inside for `quiet` seconds.

    `release` gives back what models and workers keep, on the device; `trim`, which runs in a thread afterwards, what
    the C library keeps.
    """

    release: Callable[[], Awaitable[object]]
    trim: Callable[[], object] = trim_heap
    quiet: float = QUIET_SECONDS
    clock: Callable[[], float] = time.monotonic
    _inside: int = 0
    _used: bool = True  # since memory was given back the last time; warming up counts
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.clock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as inside while the context is open."""
        self._inside += 1
        self._used = True
        try:
            yield
        finally:
            self._inside -= 1
            self._since = self.clock()

    @property
    def due(self) -> bool:
        """Whether it has been quiet for long enough, and something may have been kept since the last time."""
        return self._used and not self._inside and self.clock() - self._since >= self.quiet

    async def check(self) -> bool:
        """Give memory back if it is due. Return whether it was."""
        if not self.due:
            return False
        self._used = False
        try:
            await self.release()
        except Exception:  # the heap can be trimmed all the same, and the service goes on
            _log.exception("memory could not be released")
        await asyncio.to_thread(self.trim)
        return True

    async def watch(self) -> None:
        """Check again and again until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()
