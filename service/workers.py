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


class Workers:
    """One thread that owns the device, for all models, and a pool that decodes and encodes."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        self.threads = threads
        self._stuck_after = stuck_after  # s
        self._since: float | None = None  # what runs on the device began
        self._owner: threading.Thread | None = None
        self._device = ThreadPoolExecutor(1, "device", self._adopt, (threads,))
        self._pool = ThreadPoolExecutor(max(2, threads), "pool")
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

    def close(self) -> None:
        """Wait for what runs; drop what has not begun."""
        for executor in (self._device, self._pool):
            executor.shutdown(wait=True, cancel_futures=True)
