"""`DecodePool`: pictures in, pixels out, and nothing that a picture does reaches the service."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import numpy as np
from numpy.typing import NDArray

from model.predict import image_errors
from model.predict.image_errors import CorruptImage, ImageError, SlowImage, TooMuchMemory
from service.decoding import memory
from service.decoding.errors import NoMemory, NoWorker
from service.decoding.job import Job
from service.decoding.protocol import OUT_OF_SPACE, Reply, WorkerTask
from service.decoding.worker_link import WorkerDied, WorkerLink, WrongReply
from service.decoding.zygote_link import ZygoteLink

DECODER = "model.predict.images:decode_resized"
# Faster for large JPEG images, whose pixels differ a little.
REDUCING_DECODER = "model.predict.images:decode_reduced"
MOST_TASKS = 256  # of one worker; nothing that a picture left behind in it lasts
SLICE = 2**20  # bytes of a body that are copied before the event loop has its turn
_ERRORS: dict[str, type[ImageError]] = {
    error.kind: error
    for error in vars(image_errors).values()
    if isinstance(error, type) and issubclass(error, ImageError) and error is not ImageError
}
_HARMLESS = _ERRORS.keys() - {TooMuchMemory.kind}  # after these a worker is as good as before
_log = logging.getLogger(__name__)


class DecodePool:
    """Processes that decode pictures. It belongs to the event loop on which it was started.

    It does not queue: whoever uses it begins at most `places` jobs at a time. A worker more than these is kept, so
    that a job need not wait for a worker to be started after another was killed.

    places: jobs at a time. most_bytes: the largest memory of a job. decoder: `module:function` with the signature of
    model.predict.images.decode_resized, which workers call.
    """

    def __init__(self, places: int, most_bytes: int, decoder: str = DECODER) -> None:
        self.kills = 0  # workers that were killed: their client left, or their time was over
        self.crashes = 0  # workers that died of a picture, or of too little memory
        self.restarts = 0  # zygotes that had to be replaced
        self._places = places
        self._most = most_bytes
        self._decoder = decoder
        self._numbers = count(1)
        self._busy = 0
        self._zygote: ZygoteLink | None = None
        self._starting: asyncio.Task[ZygoteLink] | None = None
        self._closed = False

    @property
    def alive(self) -> int:
        """The workers that run, idle ones included."""
        return 0 if self._zygote is None else len(self._zygote.workers)

    @property
    def sandboxed(self) -> bool:
        """Whether workers are confined by the kernel, or by their limits alone."""
        return self._zygote is not None and self._zygote.sandboxed

    async def start(self) -> None:
        """Start a worker for each place, and the spare one. Raise NoWorker or NoMemory if that is not possible."""
        zygote = await self._running()
        confined = "without network and files" if self.sandboxed else "with limits, but without a sandbox"
        _log.info("decoding in %d processes, %s", self._places, confined)
        for _ in range(self._places + 1 - len(zygote.idle)):
            zygote.idle.append(zygote.fork())

    async def decode(self, job: Job) -> NDArray[np.uint8]:
        """Return the upright picture, resized: [h, w, 3] RGB. It lies in memory of its own.

        Raise ImageError for what is wrong with the picture, NoMemory or NoWorker if that is the machine's fault. If
        this is cancelled, the worker is killed.
        """
        if job.bytes > self._most:
            raise ValueError(f"the job needs {job.bytes} bytes, but workers may have {self._most}")
        for _ in range(2):  # a zygote that ends takes the workers with it, which is not the picture's fault
            try:
                return await self._decoded(job)
            except WorkerDied:
                continue
        raise NoWorker("the process that starts decoders was lost twice")

    async def close(self) -> None:
        """End all processes. A running decode() raises NoWorker."""
        self._closed = True
        if self._starting is not None:
            await asyncio.wait({self._starting})
        if self._zygote is not None:
            await self._zygote.close()

    async def _running(self) -> ZygoteLink:
        """Return a zygote that runs; one that ended is replaced, once for all who ask."""
        if self._closed:
            raise NoWorker("no decoders any more: the service ends")
        if self._zygote is not None and not self._zygote.lost.done():
            return self._zygote
        if self._starting is None:
            self._starting = asyncio.create_task(self._new_zygote())
            self._starting.add_done_callback(_retrieve)
        return await asyncio.shield(self._starting)

    async def _new_zygote(self) -> ZygoteLink:
        try:
            if self._zygote is not None:
                self.restarts += 1
                _log.warning("the process that starts decoders has ended; starting another")
            with _machine_errors():
                zygote = ZygoteLink(self._decoder, self._most)
            try:
                await zygote.ready()
            except BaseException:
                zygote.lose()
                raise
            self._zygote = zygote
            return zygote
        finally:
            self._starting = None

    async def _decoded(self, job: Job) -> NDArray[np.uint8]:
        with _shared(len(job.data)) as body, _shared(int(np.prod(job.shape))) as pixels:
            await _fill(body, job.data)
            zygote = await self._running()
            worker = zygote.take()  # at once, so that both are of the same time
            self._busy += 1
            reply = None
            try:
                reply = await self._replied(worker, job, body, pixels)
            finally:
                self._after(zygote, worker, job, reply)
            if reply.kind is not None:
                raise _error(reply, job)
            with _machine_errors():
                return memory.mapped(pixels, job.shape)

    async def _replied(self, worker: WorkerLink, job: Job, body: int, pixels: int) -> Reply:
        size, number = len(job.data), next(self._numbers)
        task = WorkerTask(number, job.header, job.size, size, job.bytes, job.seconds, job.large)
        try:
            async with asyncio.timeout(job.wall):
                return await worker.run(task, body, pixels)
        except TimeoutError as error:
            raise _slow(job) from error
        except WrongReply as error:
            _log.warning("a decoder was killed, because it sent %s", error)
            raise _damaged(job) from error
        except WorkerDied as death:
            raise self._cause(death, job) from death

    def _cause(self, death: WorkerDied, job: Job) -> Exception:
        """Return what the death of a worker means."""
        if death.status is None:
            return NoWorker("no decoders any more: the service ends") if self._closed else death
        self.crashes += 1
        if not death.began:
            if -death.status == errno.ENOMEM:
                return NoMemory("too little memory for a decoder")
            return NoWorker("a decoder did not start")
        if death.signal == signal.SIGXCPU:
            return _slow(job)
        if death.signal == signal.SIGKILL:  # not ours: a worker that we kill has no task any more
            return NoMemory("the machine had too little memory to decode the image")
        return _damaged(job)

    def _after(self, zygote: ZygoteLink, worker: WorkerLink, job: Job, reply: Reply | None) -> None:
        """Keep a worker for the next job, or end it and start another."""
        self._busy -= 1
        sound = reply is not None and (reply.kind is None or reply.kind in _HARMLESS)
        if sound and not job.large and worker.tasks < MOST_TASKS and not zygote.lost.done():
            zygote.idle.append(worker)
            return
        self.kills += reply is None and not worker.ended.done()
        zygote.kill(worker)
        if len(zygote.idle) + self._busy <= self._places and not zygote.lost.done():
            try:
                zygote.idle.append(zygote.fork())
            except NoWorker as error:  # the next job will try again, and tell
                _log.warning("no spare decoder: %s", error)


def _retrieve(task: asyncio.Task[ZygoteLink]) -> None:
    """Take note of a failure that nobody waits for any more; asyncio would log it."""
    if not task.cancelled():
        task.exception()


def _error(reply: Reply, job: Job) -> ImageError:
    """Return what a worker's reply says that is wrong with the picture."""
    if reply.kind == OUT_OF_SPACE:
        return TooMuchMemory(
            f"the {job.header.format} image takes more than {job.bytes / 2**20:.0f} MB of memory to decode"
        )
    error = _ERRORS.get(reply.kind or "")
    if error is None:
        _log.warning("a decoder failed: %s", reply.message)
        return _damaged(job)
    return error(reply.message)


def _slow(job: Job) -> SlowImage:
    return SlowImage(
        f"the {job.header.format} image takes too long to decode; save it again, or send a smaller one"
    )


def _damaged(job: Job) -> CorruptImage:
    return CorruptImage(f"the {job.header.format} image is damaged and cannot be decoded")


async def _fill(descriptor: int, data: bytes) -> None:
    """Copy a body to shared memory, a part at a time. Raise NoMemory or NoWorker."""
    view = memoryview(data)
    for start in range(0, len(data), SLICE):
        if start:
            await asyncio.sleep(0)
        with _machine_errors():
            memory.write(descriptor, view[start : start + SLICE], start)


@contextmanager
def _shared(size: int) -> Iterator[int]:
    with _machine_errors():
        descriptor = memory.create(size)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _machine_errors() -> Iterator[None]:
    """Say that the machine is short of memory or descriptors. Raise NoMemory or NoWorker instead of OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOMEM, errno.EAGAIN, errno.ENOSPC):
            raise NoMemory(f"too little memory to decode the image: {error.strerror}") from error
        raise NoWorker(f"the image cannot be given to a decoder: {error.strerror}") from error
