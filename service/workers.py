"""The threads that compute, so that the event loop never does."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import torch

T = TypeVar("T")


class Workers:
    """One thread that owns the device, for all models, and a pool that decodes and encodes."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        self.threads = threads
        self._stuck_after = stuck_after  # s
        self._since: float | None = None  # what runs on the device began
        self._owner: threading.Thread | None = None
        self._device = ThreadPoolExecutor(1, "device", self._adopt, (threads,))
        self._pool = ThreadPoolExecutor(max(2, threads), "encode")
        self._decoders = ThreadPoolExecutor(max(2, threads), "decode")  # slow images hold up no answer
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
        """Among the decoders. Raises TimeoutError `seconds` after it began; the thread goes on to its end."""
        loop = asyncio.get_running_loop()
        began = asyncio.Event()

        def noted() -> T:
            loop.call_soon_threadsafe(began.set)
            return call()

        running = loop.run_in_executor(self._decoders, noted)
        try:
            await began.wait()  # a place in the queue is not the image's fault
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                return await running
        finally:
            running.cancel()  # if it has not begun

    async def close(self, seconds: float = 5.0) -> None:
        """Drop what has not begun, and wait for what runs, but not longer than this."""
        executors = (self._device, self._pool, self._decoders)
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(asyncio.to_thread(executor.shutdown) for executor in executors))
