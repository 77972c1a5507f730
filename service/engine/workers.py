"""The threads that compute, so that the event loop never does: the device's, decoders of images, and encoders."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.engine.device import Device
from service.engine.errors import NoDecoder

T = TypeVar("T")
SPARE_DECODERS = 4  # threads for images that are still being decoded after their time


class Workers:
    """The device, a pool of threads that decode, and one of threads that encode."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        self.threads = threads
        self.device = Device(threads, stuck_after)
        self._pool = ThreadPoolExecutor(max(2, threads), "encode")
        # Images have threads of their own, so that slow ones delay no answer; the spare ones take over from threads
        # that were given up on, so that these delay no other image.
        self._decoding = asyncio.Semaphore(max(2, threads))
        self._decoders = ThreadPoolExecutor(max(2, threads) + SPARE_DECODERS, "decode")
        self._abandoned = 0

    async def in_pool(self, call: Callable[[threading.Event], T]) -> T:
        """Run a call in the pool. The call is given an event, which is set when its caller has left."""
        abandoned = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, abandoned)
        finally:
            abandoned.set()

    async def decode(self, call: Callable[[], T], seconds: float) -> T:
        """Run a call among the decoders.

        Raises TimeoutError if it has run for `seconds`, NoDecoder if it could not begin within `seconds`. A thread
        cannot be stopped: one that is given up on goes on to the end of its call, and a spare one takes its place. If
        there is no spare one left, its place is free when the call ends.
        """
        limit = None if math.isinf(seconds) else seconds
        try:  # a timeout of its own, because waiting for a thread is not the image's fault
            async with asyncio.timeout(limit):
                await self._decoding.acquire()
        except TimeoutError as error:
            raise NoDecoder(f"no thread was free to decode the image for {seconds:g} s") from error
        running = asyncio.get_running_loop().run_in_executor(self._decoders, call)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(running)
        finally:
            if running.done():
                self._decoding.release()
            else:
                self._abandon(running)

    def _abandon(self, running: asyncio.Future[T]) -> None:
        spare = self._abandoned < SPARE_DECODERS
        self._abandoned += spare

        def ended(future: asyncio.Future[T]) -> None:
            if not future.cancelled():
                future.exception()  # asyncio would log an exception that was never retrieved
            if spare:
                self._abandoned -= 1
            else:
                self._decoding.release()

        running.add_done_callback(ended)
        if spare:
            self._decoding.release()

    async def close(self, seconds: float = 5.0) -> None:
        """Drop the calls that have not begun, and wait for those that run, but no longer than `seconds`."""
        executors = (self.device.executor, self._pool, self._decoders)
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)
        # Daemons, because the interpreter and asyncio wait for all other threads at their end.
        waiters = [threading.Thread(target=executor.shutdown, daemon=True) for executor in executors]
        for waiter in waiters:
            waiter.start()
        end = time.monotonic() + seconds
        while any(waiter.is_alive() for waiter in waiters) and time.monotonic() < end:
            await asyncio.sleep(0.01)
