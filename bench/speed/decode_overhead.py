"""`python -m bench.speed.decode_overhead`: what it costs to decode photographs in processes instead of threads.

Decodes a drawn JPEG photograph of each size in a thread and in a process, in turn, and shows milliseconds: medians of
wall time, and means of the CPU time of all processes. "left" is a client that leaves: a decode that is cancelled once
its worker is busy, with all that it takes until another worker is ready.
"""

from __future__ import annotations

import asyncio
import io
import resource
import statistics
import time
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from bench.markdown import table
from model.predict.forecast import forecast
from model.predict.headers import read_header
from model.predict.images import decode_resized
from service.decoding.job import Job
from service.decoding.pool import DecodePool

SIZES = ((480, 640), (1080, 1920), (2000, 3000), (3000, 4000))  # height, width
LONG_SIDE = 800  # of the result
PAUSE = 0.03  # seconds in which a new worker warms up, and a killed one ends
BEGUN = 0.003  # seconds after which a worker has begun to decode


@dataclass
class Figures:
    """Seconds of one way to decode, a decode each."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)  # of this process
    others: float = 0.0  # CPU seconds of other processes, their mean

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        return statistics.mean(self.cpus) + self.others


def photograph(height: int, width: int) -> bytes:
    """Return a JPEG file with about as much detail as a photograph."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + rng.integers(-8, 9, smooth.shape, dtype=np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def job(data: bytes) -> Job:
    """Return the job for a file, as the service would ask for it."""
    header = read_header(data)
    scale = LONG_SIDE / max(header.width, header.height)
    size = (round(header.height * scale), round(header.width * scale))
    expected = forecast(header)
    return Job(data, header, size, expected.bytes, expected.seconds, wall=60)


async def compare(work: Job, repeats: int) -> tuple[Figures, Figures]:
    """Return the figures of decoding in a thread and in a process, in turn."""
    pool = await started()
    thread, process = Figures(), Figures()

    async def in_thread() -> None:
        await asyncio.to_thread(decode_resized, work.data, work.header, work.size)

    async def in_process() -> None:
        await pool.decode(work)

    calls = ((in_thread, thread), (in_process, process))
    for repeat in range(repeats + 1):
        for call, figures in calls:
            wall, cpu = time.perf_counter(), time.process_time()
            await call()
            if repeat:  # the first is a warm-up
                figures.walls.append(time.perf_counter() - wall)
                figures.cpus.append(time.process_time() - cpu)
            await asyncio.sleep(PAUSE)
    process.others = (await ended(pool)) / (repeats + 1)
    return thread, process


async def leave(work: Job, repeats: int) -> float:
    """Return the CPU seconds of a decode that is cancelled once its worker has begun, until another is ready."""
    pool = await started()
    before = time.process_time()
    for _ in range(repeats):
        running = asyncio.ensure_future(pool.decode(work))
        await asyncio.sleep(BEGUN)
        running.cancel()
        await asyncio.wait({running})
        await asyncio.sleep(PAUSE)
    own = time.process_time() - before
    return (own + await ended(pool)) / repeats


async def started() -> DecodePool:
    """Return a pool whose workers have warmed up."""
    pool = DecodePool(1, 2**30)
    await pool.start()
    await asyncio.sleep(0.2)
    return pool


async def ended(pool: DecodePool) -> float:
    """Close a pool. Return the CPU seconds of its processes beyond those of one without work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    await pool.close()
    with_work = resource.getrusage(resource.RUSAGE_CHILDREN)
    await (await started()).close()
    without = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (_cpu(with_work) - _cpu(before)) - (_cpu(without) - _cpu(with_work))


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def main(repeats: Annotated[int, typer.Option(min=1, help="Decodes of each size.")] = 40) -> None:
    """Print a table of milliseconds."""
    rows = []
    for height, width in SIZES:
        work = job(photograph(height, width))
        thread, process = asyncio.run(compare(work, repeats))
        left = asyncio.run(leave(work, repeats))
        cells = (thread.wall, process.wall, process.wall - thread.wall, thread.cpu, process.cpu, left)
        rows.append([f"{width}×{height}", *(f"{1000 * value:.1f}" for value in cells)])
    print(table(["photograph", "thread", "process", "more", "thread CPU", "process CPU", "left CPU"], rows))


if __name__ == "__main__":
    typer.run(main)
