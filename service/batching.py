"""Requests of equal padded size that arrive together share one pass; nothing here knows what a pass does.

The oldest request decides: its size is the batch's size, and its age closes the batch, unless the batch is
full before. While the device is busy requests gather, so a batch never waits longer than it must.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.workers import Workers

Item = TypeVar("Item")
Result = TypeVar("Result")


_STOPPED = "the batcher has stopped"


class QueueFull(Exception):
    """No room for another request; `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    max_wait: float  # s, for company
    pixels: int  # padded, of a batch; one item is always allowed
    length: int  # requests inside, from decoding to the encoded answer


@dataclass(frozen=True)
class Done(Generic[Result]):
    result: Result
    waited: float  # s, from `submit` to the start of the batch


@dataclass(frozen=True, eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    since: float
    future: asyncio.Future[Done[Result]]


class Batcher(Generic[Item, Result]):
    """Forms batches and runs them one after the other on the device's thread.

    padded: an item's (height, width) after padding. run: a batch's results, in its order.
    """

    def __init__(
        self,
        workers: Workers,
        limits: Limits,
        *,
        padded: Callable[[Item], tuple[int, int]],
        run: Callable[[Sequence[Item]], Sequence[Result]],
    ) -> None:
        self._workers = workers
        self._limits = limits
        self._padded = padded
        self._run = run
        self._waiting: list[_Entry[Item, Result]] = []  # oldest first
        self._changed = asyncio.Event()
        self._inside = 0
        self._seconds_each = 0.0  # moving average of the device's time per item
        self.alive = False
        self._running: list[_Entry[Item, Result]] = []
        self._stopped = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests inside. Raises QueueFull."""
        if self._inside >= self._limits.length:
            raise QueueFull(min(60, max(1, math.ceil(self._inside * self._seconds_each))))
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def submit(self, item: Item) -> Done[Result]:
        """The item's result, from a batch. Raises what `run` raises for this item alone.

        Cancelled while it waits, the item leaves the queue.
        """
        if self._stopped:
            raise RuntimeError(_STOPPED)
        future: asyncio.Future[Done[Result]] = asyncio.get_running_loop().create_future()
        entry = _Entry(item, time.perf_counter(), future)
        self._waiting.append(entry)
        self._changed.set()
        try:
            return await future
        except asyncio.CancelledError:
            with suppress(ValueError):  # it is in a batch already
                self._waiting.remove(entry)
            raise

    async def serve(self) -> None:
        """Run batches until cancelled."""
        self.alive = True
        try:
            while True:
                await self._ripen()
                async with self._workers.turn:
                    self._running = self._take()
                    if self._running:
                        await self._process(self._running)
        finally:
            self.alive, self._stopped = False, True
            for entry in self._running + self._waiting:
                if not entry.future.done():
                    entry.future.set_exception(RuntimeError(_STOPPED))

    async def _ripen(self) -> None:
        """Until the oldest item has waited its time or its batch is full."""
        while True:
            self._changed.clear()
            left = None
            if self._waiting:
                left = self._waiting[0].since + self._limits.max_wait - time.perf_counter()
                if left <= 0 or len(self._batch()) == self._capacity(self._waiting[0].item):
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _capacity(self, item: Item) -> int:
        return max(1, self._limits.pixels // math.prod(self._padded(item)))

    def _batch(self) -> list[_Entry[Item, Result]]:
        if not self._waiting:
            return []
        oldest = self._waiting[0].item
        size = self._padded(oldest)
        return [e for e in self._waiting if self._padded(e.item) == size][: self._capacity(oldest)]

    def _take(self) -> list[_Entry[Item, Result]]:
        batch = self._batch()
        self._waiting = [e for e in self._waiting if e not in batch]
        return batch

    async def _process(self, batch: list[_Entry[Item, Result]]) -> None:
        """Run a batch; if it fails, each of its items alone, so that a bad one fails alone."""
        items = [entry.item for entry in batch]
        start = time.perf_counter()
        try:
            results = await self._workers.on_device(lambda: self._run(items))
            if len(results) != len(items):
                raise RuntimeError(f"a batch of {len(items)} has {len(results)} results")
        except Exception as error:
            if len(batch) > 1:
                for entry in batch:
                    if not entry.future.done():  # its client may have left
                        await self._process([entry])
            elif not batch[0].future.done():
                batch[0].future.set_exception(error)
            return
        each = (time.perf_counter() - start) / len(batch)
        self._seconds_each += 0.2 * (each - self._seconds_each) if self._seconds_each else each
        for entry, result in zip(batch, results, strict=True):
            if not entry.future.done():
                entry.future.set_result(Done(result, start - entry.since))
