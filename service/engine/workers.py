"""The threads that compute, so that the event loop never does."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from service.engine.request import DeviceLost, Stopped

T = TypeVar("T")
ABANDONED = 4  # decodes that may go on after their time beside those that count
LOOK = 0.25  # s between two looks at whether the device's thread lives
_log = logging.getLogger(__name__)


class NoDecoder(Exception):
    """No thread was free to decode an image."""


class _Device:
    """The thread that owns the device; it starts with its first call."""

    def __init__(self, threads: int) -> None:
        self.executor = ThreadPoolExecutor(1, "device", self._adopt, (threads,))
        self.since: float | None = None  # what runs began
        self.broken = False
        self._owner: threading.Thread | None = None

    def _adopt(self, threads: int) -> None:
        self._owner = threading.current_thread()
        torch.set_num_threads(threads)

    @property
    def alive(self) -> bool:
        return not self.broken and (self._owner is None or self._owner.is_alive())

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Raises BrokenExecutor if there is no thread to run it."""
        try:
            return self.executor.submit(self._timed, call)
        except RuntimeError as error:  # the system starts no further thread
            raise BrokenExecutor(str(error)) from error

    def _timed(self, call: Callable[[], T]) -> T:
        self.since = time.monotonic()
        try:
            return call()
        finally:
            self.since = None


class Workers:
    """One thread that owns the device, for all models, and a pool that decodes and encodes."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        self.threads = threads
        self._stuck_after = stuck_after  # s
        self._device = _Device(threads)
        self._restarts = 1
        self._pool = ThreadPoolExecutor(max(2, threads), "encode")
        # Slow images hold up no answer, and those given up on hold up no other image.
        self._decoding = asyncio.Semaphore(max(2, threads))
        self._decoders = ThreadPoolExecutor(max(2, threads) + ABANDONED, "decode")
        self._abandoned = 0
        self.turn = asyncio.Lock()  # held by the model whose batch is formed and run

    @property
    def alive(self) -> bool:
        """Whether the device's thread is not stuck, and runs or will run again."""
        since = self._device.since
        stuck = since is not None and time.monotonic() - since > self._stuck_after
        return not stuck and (self._device.alive or self._restarts > 0)

    async def on_device(self, call: Callable[[], T]) -> T:
        """Run it alone on the device.

        Raises DeviceLost if the call exits, or its thread ends before it. That is replaced, once; Stopped then.
        """
        device = self._living()
        try:
            running = device.submit(call)
            waiter = asyncio.wrap_future(running)
            try:
                while not running.done():
                    await asyncio.wait((waiter,), timeout=LOOK)
                    if not device.alive and not running.done():  # it would never be
                        raise DeviceLost("the device's thread has ended")
                return await waiter
            except SystemExit as error:  # on the event loop it would end the service
                raise DeviceLost("the work on the device has ended itself") from error
            finally:
                waiter.cancel()
        except BrokenExecutor as error:
            device.broken = True
            raise DeviceLost("the device's thread cannot start") from error

    def _living(self) -> _Device:
        if not self._device.alive:
            if not self._restarts:
                raise Stopped("the device's thread has ended")
            _log.error("the device's thread has ended; it starts once more")
            self._restarts -= 1
            self._device = _Device(self.threads)
        return self._device

    async def in_pool(self, call: Callable[[threading.Event], T]) -> T:
        """`call` is given an event that is set when nobody waits for it any more: then it may end as it likes."""
        left = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, left)
        finally:
            left.set()

    async def decode(self, call: Callable[[], T], seconds: float) -> T:
        """Among the decoders. Raises TimeoutError `seconds` after it began, NoDecoder if it could not begin in as many.

        No thread can be stopped: one that is given up on goes on to its end, and a spare one takes its place
        while there are any. Without, it keeps its place until it ends.
        """
        limit = None if math.isinf(seconds) else seconds
        try:  # apart, because a place in the queue is not the image's fault
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
        executors = (self._device.executor, self._pool, self._decoders)
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)
        # Daemons, because the interpreter and asyncio wait for all other threads at their end.
        waiters = [threading.Thread(target=executor.shutdown, daemon=True) for executor in executors]
        for waiter in waiters:
            waiter.start()
        end = time.monotonic() + seconds
        while any(waiter.is_alive() for waiter in waiters) and time.monotonic() < end:
            await asyncio.sleep(0.01)
