"""What a request that streams shows before its answer: the levels of its renders, each as soon as it is finished."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from model.predict.predictor import Prediction

# A stream rarely has more levels than this before its answer: 28, 56, …, 448 of a mask of side 896.
USUAL_LEVELS = 5
# What its masks take, as a multiple of what they would take otherwise: all levels below the finest may be waiting, and
# the one before it is counted already.
MORE_MEMORY = 16 / 15


@dataclass(frozen=True, eq=False)
class FinishedLevel:
    """A finished level of all renders of a request."""

    side: int  # the least finished one of the renders that are not done
    prediction: Prediction  # as it was then


class Levels:
    """Passes the levels of a request on to whoever shows them, one after another.

    To a client that does not read, only the newest one. All methods are called on the event loop.
    """

    def __init__(self) -> None:
        self._side = 0
        self._waiting: deque[FinishedLevel] = deque()
        self._held_up = False
        self._closed = False
        self._changed = asyncio.Event()

    def offer(self, prediction: Prediction) -> None:
        """Keep a snapshot if the renders have a level that was not offered before. The device must not be at work."""
        side = min((render.level for render in prediction.renders if not render.done), default=0)
        if side <= self._side or self._closed:
            return
        self._side = side
        self._waiting.append(FinishedLevel(side, prediction.snapshot()))
        self._drop_missed()
        self._changed.set()

    def close(self) -> None:
        """Offer no more levels, because there is an answer or there will be none, and drop those that still wait."""
        self._closed = True
        self._waiting.clear()
        self._changed.set()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Keep only the newest level while the context is open, unless it is left again at once.

        It is open until the client has taken the level before.
        """
        self._held_up = True
        check = asyncio.get_running_loop().call_soon(self._drop_missed)
        try:
            yield
        finally:
            self._held_up = False
            check.cancel()

    async def next(self) -> FinishedLevel | None:
        """Return the next level once there is one; None after the last one."""
        while not self._waiting:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def _drop_missed(self) -> None:
        while self._held_up and len(self._waiting) > 1:
            self._waiting.popleft()
