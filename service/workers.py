"""The threads that compute, so that the event loop never does."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
ABANDONED = 4  # decodes that may go on after their time beside those that count


class Workers:
    """One thread that owns the device, for all models, and a pool that decodes and encodes."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        self.threads = threads
        self._stuck_after = stuck_after  # s
        self._since: float | None = None  # what runs on the device began
        self._owner: threading.Thread | None = None
        self._device = ThreadPoolExecutor(1, "device", self._adopt, (threads,))
        self._pool = ThreadPoolExecutor(max(2, threads), "encode")
        # Slow images hold up no answer, and those given up on hold up no other image.
        self._decoding = asyncio.Semaphore(max(2, threads))
        self._decoders = ThreadPoolExecutor(max(2, threads) + ABANDONED, "decode")
        self._abandoned = 0
        self.turn = asyncio.Lock()  # held by the model whose batch is formed and run

    def _adopt(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._owner = threading.current_thread()

    @property
    def alive(self) -> bool:
        """Whether the device's thread runs and is not stuck; it starts with its first call."""
        since = self._since
        stuck = since is not None and time.monotonic() - since > self._stuck_after
        return not stuck and (self._owner is None or self._owner.is_alive())

    async def on_device(self, call: Callable[[], T]) -> T:
        """Run it alone on the device."""

        def timed() -> T:
            self._since = time.monotonic()
            try:
                return call()
            finally:
                self._since = None

        return await asyncio.get_running_loop().run_in_executor(self._device, timed)

    async def in_pool(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def decode(self, call: Callable[[], T], seconds: float) -> T:
        """Among the decoders. Raises TimeoutError `seconds` after it began.

        No thread can be stopped: one that is given up on goes on to its end, and a spare one takes its place
        while there are any.
        """
        await self._decoding.acquire()  # a place in the queue is not the image's fault
        running = asyncio.get_running_loop().run_in_executor(self._decoders, call)
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                return await asyncio.shield(running)
        finally:
            if running.done():
                self._decoding.release()
            else:
                self._abandon(running)

    def _abandon(self, running: asyncio.Future[T]) -> None:
        spare = self._abandoned < ABANDONED
        self._abandoned += spare

        def ended(future: asyncio.Future[T]) -> None:
            if not future.cancelled():
                future.exception()  # nobody waits for it any more
            if spare:
                self._abandoned -= 1
            else:
                self._decoding.release()

        running.add_done_callback(ended)
        if spare:
            self._decoding.release()

    async def close(self, seconds: float = 5.0) -> None:
        """Drop what has not begun, and wait for what runs, but not longer than this."""
        executors = (self._device, self._pool, self._decoders)
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)
        # Daemons, because the interpreter and asyncio wait for all other threads at their end.
        waiters = [threading.Thread(target=executor.shutdown, daemon=True) for executor in executors]
        for waiter in waiters:
            waiter.start()
        end = time.monotonic() + seconds
        while any(waiter.is_alive() for waiter in waiters) and time.monotonic() < end:
            await asyncio.sleep(0.01)
