"""The threads that compute, so that the event loop never does: the device's, and those that encode."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.engine.device.device import Device
from service.torch_threads import set_torch_threads

T = TypeVar("T")


class Workers:
    """The device, and a pool of threads."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        self.threads = threads
        self.device = Device(threads, stuck_after)
        self.pool_size = max(2, threads)
        self._pool = ThreadPoolExecutor(self.pool_size, "pool", set_torch_threads, (1,))

    async def in_pool(self, call: Callable[[threading.Event], T]) -> T:
        """Run a call in the pool. The call is given an event, which is set when its caller has left."""
        abandoned = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, abandoned)
        finally:
            abandoned.set()

    async def close(self, seconds: float = 5.0) -> None:
        """Drop the calls that have not begun, and wait for those that run, but no longer than `seconds`."""
        executors = (self.device.executor, self._pool)
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)
        # Daemons, because the interpreter and asyncio wait for all other threads at their end.
        waiters = [threading.Thread(target=executor.shutdown, daemon=True) for executor in executors]
        for waiter in waiters:
            waiter.start()
        end = time.monotonic() + seconds
        while any(waiter.is_alive() for waiter in waiters) and time.monotonic() < end:
            await asyncio.sleep(0.01)
