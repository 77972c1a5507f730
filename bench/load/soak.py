"""Many clients for minutes: their answers beside those of single requests, and the server's memory."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bench.load import report, workload
from bench.load.driver import PlannedRequest, closed, each, resident
from bench.load.servers import ServerProcess

Memory = list[tuple[float, int]]  # s, bytes


def soaked(
    server: ServerProcess,
    requests: Sequence[PlannedRequest],
    clients: int,
    seconds: float,
    patience: float = 1.0,
) -> report.Json:
    """Send every request alone, then run `clients` at once.

    A third of their requests is abandoned after `patience` seconds. Answers are compared with those of single requests.
    """
    alone = each(server.url, requests)
    order = workload.leaving(requests, patience)
    random.Random(0).shuffle(order)
    before = departures(server.url)
    with _watched(server.pid) as memory:
        run = closed(server.url, order, clients, seconds, keep=True)
    left = {stage: count - before.get(stage, 0) for stage, count in departures(server.url).items()}
    compared = [
        report.differ(answer.body, alone[replace(answer.request, leaves_after=None)])
        for answer in run.answers
        if answer.outcome == "ok"
    ]
    return report.figures(run) | {
        "clients": clients,
        "left_in": left,
        "masks_compared": sum(masks for _, masks in compared),
        "worst_mask_difference": max((share for share, _ in compared), default=0.0),
        "memory": memory,
    }


def departures(url: str) -> dict[str, int]:
    """Return how many clients have left so far, by the stage of their requests, as the server counts them."""
    page = httpx.get(f"{url}/metrics", timeout=30, trust_env=False).text
    return {
        sample.labels["stage"]: int(sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "pointrend_cancelled_total"
    }


@contextmanager
def _watched(pid: int) -> Iterator[Memory]:
    """Record a process' memory every other second while the context is open."""
    memory: Memory = []
    ended = threading.Event()
    begin = time.monotonic()

    def watch() -> None:
        while not ended.wait(2):
            memory.append((time.monotonic() - begin, resident(pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        ended.set()
        watcher.join()
