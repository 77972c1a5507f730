"""Pictures that a user of the Python client sends all at once, with `AsyncClient` and `asyncio.gather`."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tqdm.asyncio import tqdm

from bench.load.report import Json
from pointrend_client import AsyncClient, ClientError
from pointrend_client.client import CONCURRENCY

PATIENT = CONCURRENCY  # requests that a client has in flight unless it is told otherwise


def sent_at_once(url: str, picture: bytes, count: int, concurrency: int) -> Json:
    """Give one client all pictures at once, wait for all of them, and return what became of them.

    The outcomes are "answered" and the messages of the client's errors. `refused` is how often the service said when to
    come back, and `median` the seconds until an answer.
    """
    before = _refused(url)
    outcomes, times, seconds = asyncio.run(_play(url, picture, count, concurrency))
    return {
        "concurrency": concurrency,
        "outcomes": dict(Counter(outcomes)),
        "refused": _refused(url) - before,
        "median": statistics.median(times) if times else None,
        "seconds": seconds,
    }


async def _play(
    url: str, picture: bytes, count: int, concurrency: int
) -> tuple[list[str], list[float], float]:
    begin, times = time.perf_counter(), list[float]()

    async def one(client: AsyncClient) -> str:
        try:
            await client.segment(picture)
        except ClientError as error:
            return str(error)
        times.append(time.perf_counter() - begin)
        return "answered"

    async with AsyncClient(url, concurrency=concurrency) as client:
        calls = (one(client) for _ in range(count))
        outcomes = await tqdm.gather(*calls, desc=f"{count} at once, {concurrency} in flight", leave=False)
    return outcomes, times, time.perf_counter() - begin


def _refused(url: str) -> int:
    """Return how many requests the server has told to come back so far."""
    page = httpx.get(f"{url}/metrics", timeout=30, trust_env=False).text
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "pointrend_rejected_total" and sample.labels["problem"] == "queue-full"
    )
