"""The device and the one thread that owns it: every call on the device runs there, one at a time, for all models.

The thread is replaced once if it ends. `Device.recovered` says whether work that failed is worth another try.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from typing import TypeVar

from service.engine.errors import DeviceLost, Stopped
from service.torch_threads import set_torch_threads

T = TypeVar("T")
CHECK_PERIOD = 0.25  # seconds between two checks whether the thread lives
# How CUDA, ONNX Runtime, PyTorch, numpy and C++ say that there is no memory.
_OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate",
    "can't allocate",
    "unable to allocate",
    "bad_alloc",
)
_log = logging.getLogger(__name__)


class _DeviceThread:
    """The thread that owns the device. It starts with its first call."""

    def __init__(self, threads: int) -> None:
        self.executor = ThreadPoolExecutor(1, "device", self._adopt, (threads,))
        self.busy_since: float | None = None  # when the running call began
        self.broken = False
        self._owner: threading.Thread | None = None

    def _adopt(self, threads: int) -> None:
        self._owner = threading.current_thread()
        set_torch_threads(threads)

    @property
    def alive(self) -> bool:
        return not self.broken and (self._owner is None or self._owner.is_alive())

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Start a call. Raise BrokenExecutor if there is no thread to run it."""
        try:
            return self.executor.submit(self._timed, call)
        except RuntimeError as error:  # the system starts no further thread
            raise BrokenExecutor(str(error)) from error

    def _timed(self, call: Callable[[], T]) -> T:
        self.busy_since = time.monotonic()
        try:
            return call()
        finally:
            self.busy_since = None


class Device:
    """The device, for all models of a service."""

    def __init__(self, threads: int, stuck_after: float = math.inf) -> None:
        """`threads` are torch's; a call that runs for more than `stuck_after` seconds counts as stuck."""
        self._threads = threads
        self._stuck_after = stuck_after
        self._thread = _DeviceThread(threads)
        self._restarts = 1

    @property
    def alive(self) -> bool:
        """Whether the thread is not stuck, and runs or will run again."""
        since = self._thread.busy_since
        stuck = since is not None and time.monotonic() - since > self._stuck_after
        return not stuck and (self._thread.alive or self._restarts > 0)

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The executor of the thread, to be shut down."""
        return self._thread.executor

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns; no other call runs on the device meanwhile.

        Raises what the call raises, DeviceLost if the call exits or the thread ends before it, Stopped if the thread
        has ended for good.
        """
        thread = self._living()
        try:
            running = thread.submit(call)
            waiter = asyncio.wrap_future(running)
            try:
                while not running.done():
                    await asyncio.wait((waiter,), timeout=CHECK_PERIOD)
                    if not thread.alive and not running.done():  # it would never be
                        raise DeviceLost("the device's thread has ended")
                return await waiter
            except SystemExit as error:  # on the event loop it would end the service
                raise DeviceLost("the work on the device has ended itself") from error
            finally:
                waiter.cancel()
        except BrokenExecutor as error:
            thread.broken = True
            raise DeviceLost("the device's thread cannot start") from error

    async def attempt(self, call: Callable[[], T]) -> T | Exception:
        """Return what the call returns, or the exception that it raises.

        The caller must not handle the exception in an `except` block: that would keep the tensors of the failed call
        alive while `recovered` tries to release memory.
        """
        try:
            return await self.run(call)
        except Exception as error:
            return error

    async def recovered(self, error: Exception, release: Callable[[], None]) -> bool:
        """Return whether the device itself was the cause of the error and the same work may succeed now.

        Memory is released if there was too little of it.
        """
        if isinstance(error, DeviceLost):
            return True  # the next call has a new thread, or finds that there is none
        if not any(words in str(error).lower() for words in _OUT_OF_MEMORY):
            return False
        error.with_traceback(None)  # its frames refer to the tensors that shall be released
        failure = await self.attempt(release)
        if isinstance(failure, Exception):
            _log.error("memory could not be released", exc_info=failure)
        return True

    def _living(self) -> _DeviceThread:
        if not self._thread.alive:
            if not self._restarts:
                raise Stopped("the device's thread has ended")
            _log.error("the device's thread has ended; it starts once more")
            self._restarts -= 1
            self._thread = _DeviceThread(self._threads)
        return self._thread
