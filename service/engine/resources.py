"""What the models of a service share: the device, decoding and encoding, room for requests, memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.decoding.decoder import Decoder
from service.decoding.errors import NoMemory, NoWorker
from service.decoding.job import LARGE_SECONDS, Job
from service.engine.device.batching import BatchLimits
from service.engine.device.scheduler import Scheduler
from service.engine.errors import NoDecoder, OutOfMemory
from service.engine.kept import KeptObserver, KeptPictures
from service.engine.memory import QuietMemory
from service.engine.queue.admission import Admission
from service.engine.queue.budget import Budget
from service.engine.queue.gate import Gate
from service.engine.workers import Workers

LONG_ENCODE = 0.1  # seconds


@dataclass(frozen=True)
class Limits:
    """Bounds on the work of all requests. The defaults are for the command line, with a coarse pass for each image."""

    batching: BatchLimits = field(default_factory=lambda: BatchLimits(max_wait=0, pixels=1, points=8 * 784))
    queue_seconds: float = math.inf  # predicted work of all requests inside
    queue_length: int = 1
    decode_bytes: float = math.inf
    render_bytes: float = math.inf
    encode_bytes: float = math.inf
    keep_bytes: float = 0


@dataclass(frozen=True)
class Resources:
    """One of each for a service, whatever the number of its models."""

    workers: Workers
    decoder: Decoder
    admission: Admission
    scheduler: Scheduler
    render_memory: Budget
    decoding: Gate
    encoding: Gate
    quiet: QuietMemory
    kept: KeptPictures
    stretch: float  # how many times its cost a request may wait before it is due, see `BatchLimits`
    batch_pixels: int  # padded pixels of a coarse pass

    async def decoded(self, job: Job) -> NDArray[np.uint8]:
        """Return the pixels of an image. Raises ImageError, NoDecoder, OutOfMemory."""
        try:
            return await self.decoder.decode(job)
        except NoWorker as error:
            raise NoDecoder("no process could be started to decode the image") from error
        except NoMemory as error:
            raise OutOfMemory("there was too little memory to decode the image") from error


def share(
    workers: Workers, decoder: Decoder, limits: Limits, observer: KeptObserver | None = None
) -> Resources:
    """Return the resources of a service. `observer` gets the reports of the cache of kept pictures."""
    batching, render_memory = limits.batching, Budget(limits.render_bytes)
    decoding = Gate(workers.pool_size, Budget(limits.decode_bytes), LARGE_SECONDS)
    scheduler = Scheduler(workers.device, batching, render_memory, taken=decoding.update)
    return Resources(
        workers=workers,
        decoder=decoder,
        admission=Admission(
            seconds=limits.queue_seconds, length=limits.queue_length, stretch=batching.stretch
        ),
        scheduler=scheduler,
        render_memory=render_memory,
        decoding=decoding,
        encoding=Gate(workers.pool_size, Budget(limits.encode_bytes), LONG_ENCODE),
        quiet=QuietMemory(scheduler.release_memory),
        kept=KeptPictures(limits.keep_bytes, observer),
        stretch=batching.stretch,
        batch_pixels=batching.pixels,
    )
