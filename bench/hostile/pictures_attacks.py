"""Attacks by pictures: what is sent is small, or well-formed, and what it costs is not."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from bench.hostile import pictures
from bench.hostile.target import AttackedService
from bench.hostile.wire import WireAnswer, ask

Report = str  # what an attack saw, in a few words
# Of side 896 in one request, with so many points for each that `max_points` (4 million) still permits it.
MOST_MASKS, MOST_POINTS = 100, 9000


async def webp_bombs(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Send 20 lossless WebP files of 49 megapixels at once, again and again; 12 of them leave."""
    body = pictures.webp_of_one_colour()

    async def client(number: int) -> WireAnswer:
        leaves = 0.3 if number < 12 else None
        return await ask(target.address, "/segment?model=people", body, leaves_after=leaves)

    return f"{len(body)} bytes each; " + await _waves(20, client, seconds)


async def tiff_strips(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Send TIFF files of 5 and 24 MB whose millions of strips have a byte of offset each."""
    bodies = [pictures.tiff_of_strips(2_500_000)] * 4 + [pictures.tiff_of_strips(12_000_000)] * 2

    async def client(number: int) -> WireAnswer:
        return await ask(target.address, "/segment", bodies[number], "image/tiff")

    return await _waves(len(bodies), client, seconds)


async def parts(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Let 10 clients send small files with as many strips, chunks, profiles and texts as are permitted, or more.

    All but one are cut off within their pixels: they are decoded and then refused, so the device has no part in it.
    """
    bodies = [pictures.tiff_of_strips(10_000), pictures.png_of_bytes()[:-2000]]
    bodies += [pictures.png_of_profiles()[:-20], pictures.png_of_newlines()[:-20]] * 4
    return await _loops(len(bodies), lambda number: ask(target.address, "/segment", bodies[number]), seconds)


async def leavers(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Let 20 clients send a JPEG of 49 megapixels and leave soon, again and again."""
    body = pictures.large_jpeg(picture)

    async def client(number: int) -> WireAnswer:
        await asyncio.sleep(number * 0.05)
        return await ask(target.address, "/segment", body, "image/jpeg", leaves_after=1.0)

    return f"{len(body) / 1e6:.1f} MB each; " + await _loops(20, client, seconds)


async def small_pngs(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Let 60 clients send a PNG of 0.4 MB, 16-bit RGBA, which has 50 megapixels."""
    body = pictures.png_of_zeros()
    return await _loops(60, lambda _: ask(target.address, "/segment", body), seconds)


async def polygons(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Send 10 requests at once for polygons in a picture of 49 megapixels."""
    body = pictures.large_jpeg(picture)
    path = "/segment?format=polygon&score=0.05&resolution=896"
    return await _waves(10, lambda _: ask(target.address, path, body, "image/jpeg"), seconds)


async def huge_requests(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Let one client send one request after another whose masks need nearly all work that is permitted."""
    boxes = json.dumps([[0, 0, 300 + i, 500] for i in range(MOST_MASKS)], separators=(",", ":"))
    path = f"/segment?resolution=896&points={MOST_POINTS}&boxes={boxes}"
    return await _loops(1, lambda _: ask(target.address, path, picture, "image/jpeg"), seconds)


async def _waves(
    clients: int, client: Callable[[int], Coroutine[Any, Any, WireAnswer]], seconds: float
) -> Report:
    """Let all clients send at once, and again when all have their answers, until the time is over."""
    answers, end = list[WireAnswer](), time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        answers += await asyncio.gather(*(client(number) for number in range(clients)))
        await asyncio.sleep(max(0.0, begin + 0.5 - time.monotonic()))
    return told(answers)


async def _loops(clients: int, client: Callable[[int], Awaitable[WireAnswer]], seconds: float) -> Report:
    """Let each client send again as soon as it has its answer, until the time is over."""
    answers, end = list[WireAnswer](), time.monotonic() + seconds

    async def loop(number: int) -> None:
        while time.monotonic() < end:
            answers.append(await client(number))
            if answers[-1].status not in (200, 499):
                await asyncio.sleep(0.25)

    await asyncio.gather(*(loop(number) for number in range(clients)))
    return told(answers)


def told(answers: list[WireAnswer]) -> Report:
    """Return how many answers had which status, and the longest wait."""
    counts = Counter(answer.status for answer in answers)
    statuses = ", ".join(f"{count}×{status}" for status, count in sorted(counts.items()))
    return f"{statuses}, longest {max((answer.seconds for answer in answers), default=0):.1f} s"
