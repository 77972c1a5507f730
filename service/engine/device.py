"""One model's work on the device, each of which may fail: tried, timed, and made ready for another try."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.engine.cost import Mean
from service.engine.request import DeviceLost, Item, Model, Observer, P
from service.engine.workers import Workers

T = TypeVar("T")
# As CUDA, ONNX Runtime, PyTorch, numpy and C++ say it.
_FULL = ("out of memory", "failed to allocate", "can't allocate", "unable to allocate", "bad_alloc")
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Attempts(Generic[Item, P]):
    """See the module. What fails comes back as the exception instead of being raised."""

    workers: Workers
    model: Model[Item, P]
    observer: Observer[Item]
    step: Mean = field(default_factory=lambda: Mean(0.0))  # s of a step of the renderer

    async def begin(self, items: Sequence[Item]) -> Sequence[Sequence[P]] | Exception:
        """A coarse pass: the renders of each item."""
        return await _tried(self._begin(items))

    async def advance(self, pieces: Sequence[P]) -> Exception | None:
        """A step of the renderer."""
        return await _tried(self._advance(pieces))

    async def mended(self, error: Exception) -> bool:
        """Whether it was the device's failure, and the same work may go well now."""
        if isinstance(error, DeviceLost):
            return True  # there is a new thread, or none
        if not any(words in str(error).lower() for words in _FULL):
            return False
        error.with_traceback(None)  # its frames hold what shall be released
        failure = await _tried(self.workers.on_device(self.model.release))
        if isinstance(failure, Exception):
            _log.error("memory could not be released", exc_info=failure)
        return True

    async def _begin(self, items: Sequence[Item]) -> Sequence[Sequence[P]]:
        found = await self.workers.on_device(lambda: self.model.begin(items))
        if len(found) != len(items):
            raise RuntimeError(f"a batch of {len(items)} has {len(found)} results")
        return found

    async def _advance(self, pieces: Sequence[P]) -> None:
        loop = asyncio.get_running_loop()
        points: Counter[int] = Counter()
        for side, count in (piece.next_level() for piece in pieces):
            points[side] += count
        start = loop.time()
        await self.workers.on_device(lambda: self.model.advance(pieces))
        seconds = loop.time() - start
        self.step.add(seconds)
        tell(lambda: self.observer.advanced(points, seconds))


def tell(call: Callable[[], None]) -> None:
    """What goes wrong with counting must not reach those who are counted."""
    try:
        call()
    except Exception:
        _log.exception("the observer failed")


async def _tried(work: Awaitable[T]) -> T | Exception:
    """What comes of it, or why nothing does: outside of a handler, which would keep the failed work's tensors alive."""
    try:
        return await work
    except Exception as error:
        return error
