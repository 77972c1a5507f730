"""Clients that send requests: in closed loops, at a rate, and with some that hang up."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
from tqdm import tqdm

Outcome = Literal["ok", "refused", "late", "left", "failed"]
ENGINE = ("decode", "coarse", "refine", "encode")
_OUTCOMES: dict[int, Outcome] = {200: "ok", 429: "refused", 503: "refused", 504: "late"}


@dataclass(frozen=True)
class PlannedRequest:
    """One request as it will be sent: a body with its content type and query."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str | int | float], ...] = ()
    leaves_after: float | None = None  # seconds after which the client hangs up


@dataclass(frozen=True)
class TimedAnswer:
    """What a client got for one request."""

    request: PlannedRequest
    outcome: Outcome
    begin: float  # s
    seconds: float
    body: bytes = b""
    note: str = ""
    engine: float = math.nan  # seconds of decode, coarse, refine and encode, from its Server-Timing


@dataclass(frozen=True)
class Run:
    """All answers of one run."""

    answers: tuple[TimedAnswer, ...]
    seconds: float
    cpu: float = 0.0  # seconds of the server's processes

    def count(self, outcome: Outcome) -> int:
        """Return the number of answers with an outcome."""
        return sum(a.outcome == outcome for a in self.answers)

    @property
    def goodput(self) -> float:
        """The number of good answers per second."""
        return self.count("ok") / self.seconds

    def latency(self, percent: float) -> float:
        """Return a percentile of the good answers' seconds; NaN if there is none."""
        times = [a.seconds for a in self.answers if a.outcome == "ok"]
        return float(np.percentile(times, percent)) if times else float("nan")


def joined(runs: Sequence[Run]) -> Run:
    """Return several runs as one."""
    answers = tuple(answer for run in runs for answer in run.answers)
    return Run(answers, sum(run.seconds for run in runs), sum(run.cpu for run in runs))


@dataclass
class LoadClient:
    """Sends requests to one server and keeps the answers."""

    url: str
    keep_bodies: bool = False
    answers: list[TimedAnswer] = field(default_factory=list)

    async def send(self, http: httpx.AsyncClient, request: PlannedRequest) -> TimedAnswer:
        """Send one request, and hang up when its client does."""
        begin = time.perf_counter()
        outcome: Outcome = "failed"
        body, note, engine = b"", "", math.nan
        try:
            async with asyncio.timeout(request.leaves_after):
                response = await http.post(
                    request.path,
                    content=request.body,
                    headers=dict(request.headers),
                    params=dict(request.query),
                )
            outcome = _OUTCOMES.get(response.status_code, "failed")
            body = response.content if self.keep_bodies or outcome == "failed" else b""
            note = response.headers.get("retry-after", "")
            engine = engine_seconds(response.headers.get("server-timing", ""))
        except TimeoutError:
            outcome = "left"
        except httpx.HTTPError as error:
            note = repr(error)
        seconds = time.perf_counter() - begin
        self.answers.append(TimedAnswer(request, outcome, begin, seconds, body, note, engine))
        return self.answers[-1]


def engine_seconds(server_timing: str) -> float:
    """Return the seconds of all stages but the queue from a Server-Timing header; NaN if a stage is missing."""
    stages = dict(part.split(";dur=") for part in server_timing.split(", ") if ";dur=" in part)
    return sum(float(stages.get(stage, math.nan)) for stage in ENGINE) / 1000


def closed(
    url: str, requests: Sequence[PlannedRequest], clients: int, seconds: float, *, keep: bool = False
) -> Run:
    """Run `clients` that each send the next of the requests as soon as they have their answer.

    A client that is refused waits for Retry-After and up to half as long again, so that clients do not return together.
    """

    async def play() -> Run:
        client, turn, draw = LoadClient(url, keep), iter(range(1_000_000)), random.Random(0)
        begin = time.perf_counter()

        async def loop(http: httpx.AsyncClient) -> None:
            while True:  # at least once
                answer = await client.send(http, requests[next(turn) % len(requests)])
                left = begin + seconds - time.perf_counter()
                if left <= 0:
                    return
                if answer.outcome == "refused" and answer.note.isdecimal():
                    await asyncio.sleep(min(left, float(answer.note) * draw.uniform(1, 1.5)))

        async with _http(url, clients) as http, _Progress(seconds, f"{clients} clients"):
            await asyncio.gather(*(loop(http) for _ in range(clients)))
        return Run(tuple(client.answers), time.perf_counter() - begin)

    return asyncio.run(play())


def each(url: str, requests: Sequence[PlannedRequest]) -> dict[PlannedRequest, bytes]:
    """Send every request once, alone, and return the answers. Raises RuntimeError if one fails."""

    async def play() -> dict[PlannedRequest, bytes]:
        client = LoadClient(url, keep_bodies=True)
        async with _http(url, 1) as http:
            answers = [
                await client.send(http, request) for request in tqdm(requests, desc="alone", leave=False)
            ]
        if bad := [answer for answer in answers if answer.outcome != "ok"]:
            raise RuntimeError(f"a request alone is {bad[0].outcome}: {bad[0].note} {bad[0].body[:500]!r}")
        return {answer.request: answer.body for answer in answers}

    return asyncio.run(play())


def arriving(url: str, requests: Sequence[PlannedRequest], rate: float, seconds: float) -> Run:
    """Send requests at random times, `rate` a second on average, whether or not earlier ones are answered."""

    async def play() -> Run:
        client, draw, tasks = LoadClient(url), random.Random(0), []
        begin = time.perf_counter()
        due = begin
        async with _http(url, 2000) as http, _Progress(seconds, f"{rate:.1f} requests/s"):
            for i in range(int(rate * seconds)):
                due += draw.expovariate(rate)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.append(asyncio.create_task(client.send(http, requests[i % len(requests)])))
            await asyncio.gather(*tasks)
        return Run(tuple(client.answers), time.perf_counter() - begin)

    return asyncio.run(play())


def _http(url: str, connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections + 1, max_keepalive_connections=connections)
    return httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False)


class _Progress:
    """A progress bar of seconds."""

    def __init__(self, seconds: float, text: str) -> None:
        self._seconds, self._text = seconds, text

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def __aexit__(self, *_: Any) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        with tqdm(total=round(self._seconds), desc=self._text, unit="s", leave=False) as bar:
            while True:
                await asyncio.sleep(1)
                bar.update()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its living children (Linux)."""
    ticks = 0
    waiting = [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        with suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return ticks / 100


def resident(pid: int) -> int:
    """Return the bytes of a process in memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
