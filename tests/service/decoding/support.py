"""Pictures, jobs and processes for tests of decoding."""

from __future__ import annotations

import asyncio
import io
import os
import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.predict.forecast import forecast
from model.predict.headers import read_header
from service.decoding.job import Job
from service.decoding.pool import DecodePool

PATIENCE = 30.0  # seconds, after which something will never happen
SCRIPTED = "tests.service.decoding.decoders:scripted"

OTHERS: frozenset[int] = (
    frozenset()
)  # processes that ran before the test, of servers that tests share (conftest.py)


def picture(name: str = "JPEG", height: int = 60, width: int = 80, **options: Any) -> bytes:
    """Return a file in a format."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([4 * x, 4 * y, x * y], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **options)
    return file.getvalue()


def job(data: bytes, size: tuple[int, int] = (30, 40), wall: float = PATIENCE) -> Job:
    """Return the job of a picture."""
    header = read_header(data)
    expected = forecast(header)
    return Job(data, header, size, expected.bytes, expected.seconds, wall)


def action(text: str, **changes: Any) -> Job:
    """Return a job that lets a worker do something of `decoders.py`."""
    return replace(job(picture()), data=f"!{text}".encode(), **changes)


def with_pool(
    test: Callable[[DecodePool], Awaitable[None]], places: int = 1, decoder: str = SCRIPTED
) -> DecodePool:
    """Run a test with a pool whose workers have begun, and close it. Return the pool."""
    pool = DecodePool(places, 2**28, decoder)

    async def run() -> None:
        try:
            await pool.start()
            await until(lambda: sum(len(children(process)) for process in zygotes()) > places)
            async with asyncio.timeout(PATIENCE):
                await test(pool)
        finally:
            await pool.close()

    asyncio.run(run())
    return pool


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


def decoding(process: int) -> set[int]:
    """Return the workers of a zygote that have begun a task: their processor time is limited."""
    usual = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return {worker for worker in children(process) if _limit(worker) not in (usual, None)}


def _limit(process: int) -> int | None:
    try:
        return resource.prlimit(process, resource.RLIMIT_CPU)[0]
    except ProcessLookupError:  # it has just ended
        return None


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition without an event loop."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def children(process: int | None = None) -> set[int]:
    """Return the processes that a process has started and that still run; of this one, if absent, those of the test."""
    parent = os.getpid() if process is None else process
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _status(int(folder.name))[1:] == [str(parent)]:
            found.add(int(folder.name))
    return found - OTHERS


def running(process: int) -> bool:
    """Whether a process has not ended."""
    return bool(_status(process))


def _status(process: int) -> list[str]:
    """Return state and parent of a process that runs, nothing of one that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] in "ZX" else fields


def zygote() -> int:
    """Return the process of the only zygote."""
    (found,) = zygotes()
    return found


def zygotes() -> list[int]:
    """Return all zygotes of this process."""
    return [process for process in children() if _is_zygote(process)]


def _is_zygote(process: int) -> bool:
    try:
        return b"service.decoding.zygote" in Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False
