"""Many requests at once: what is in flight is bounded, and every one is answered in the end."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest

from pointrend_client import AsyncClient
from pointrend_client import client as client_module
from pointrend_client.retries import Attempts
from tests.service.support import Discs, disc_bundle, encoded, get, picture, running, wait_for

ANSWER = {
    "id": "1",
    "model": "discs",
    "width": 9,
    "height": 9,
    "degraded": False,
    "instances": [],
    "timings_ms": {},
}
_yield = asyncio.sleep


@dataclass
class Time:
    """Seconds that pass at once when everybody waits."""

    now: float = 0.0
    waking: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        wake = self.now + seconds
        self.waking.append(wake)
        while self.now < wake:
            for _ in range(3):
                await _yield(0)
            if min(self.waking) == wake:
                self.now = max(self.now, wake)
        self.waking.remove(wake)


@dataclass
class Promising:
    """A service that does one request at a time, and tells those for whom it has no room when it will have some."""

    time: Time
    seconds: float = 0.1  # of a request
    room: int = 4
    inside: int = 0
    most: int = 0
    promised: list[float] = field(default_factory=list)  # when those who were told to come back will
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.promised = [when for when in self.promised if when > self.time.now]
        if self.inside >= self.room:
            wait = math.ceil((self.inside + len(self.promised)) * self.seconds)
            self.promised.append(self.time.now + wait)
            return httpx.Response(429, headers={"retry-after": str(wait)}, request=request)
        self.inside += 1
        self.most = max(self.most, self.inside)
        async with self.turn:
            await self.time.sleep(self.seconds)
        self.inside -= 1
        return httpx.Response(200, json=ANSWER, request=request)


@pytest.mark.parametrize("concurrency", [8, 400])
def test_400_at_once_are_all_answered_by_a_service_that_keeps_its_promises(
    concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes two minutes for all of them."""
    time = Time()

    async def burst() -> list[Any]:
        service = Promising(time, seconds=0.3)
        async with AsyncClient("http://service", concurrency=concurrency) as client:
            transport = httpx.MockTransport(service)
            http = httpx.AsyncClient(transport=transport, base_url="http://service")
            monkeypatch.setattr(client, "_http", http)
            return await asyncio.gather(*(client.segment(b"x") for _ in range(400)))

    monkeypatch.setattr(client_module, "Attempts", partial(Attempts, clock=lambda: time.now))
    monkeypatch.setattr(client_module.asyncio, "sleep", time.sleep)
    assert len(asyncio.run(burst())) == 400


def test_no_more_than_so_many_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    flying, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        for _ in range(5):
            await _yield(0)
        flying -= 1
        return httpx.Response(200, json=ANSWER, request=request)

    async def burst(concurrency: int) -> int:
        nonlocal most
        most = 0
        async with AsyncClient("http://service", concurrency=concurrency) as client:
            transport = httpx.MockTransport(answer)
            monkeypatch.setattr(client, "_http", httpx.AsyncClient(transport=transport, base_url="http://s"))
            await asyncio.gather(*(client.segment(b"x") for _ in range(40)))
        return most

    assert 2 <= asyncio.run(burst(3)) <= 3
    assert asyncio.run(burst(1)) == 1


@pytest.mark.slow
def test_400_at_once_are_all_answered_by_a_real_service(discs: Discs) -> None:
    """Its queue has room for two, so most are told to come back."""

    async def burst(url: str) -> int:
        async with AsyncClient(url) as client:
            found = await asyncio.gather(*(client.segment(encoded(picture())) for _ in range(400)))
            return len(found)

    with running(disc_bundle(discs), queue_length=2) as url:
        wait_for(lambda: get(f"{url}/readyz").is_success)
        assert asyncio.run(burst(url)) == 400
        refused = [line for line in get(f"{url}/metrics").text.splitlines() if 'problem="queue-full"' in line]
        assert refused and float(refused[0].split()[-1]) > 0
