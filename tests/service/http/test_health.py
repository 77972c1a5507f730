"""When the service says that it is not ready although all of its parts run, and when again that it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.http import health
from service.http.health import FAILURES, PROBE_SECONDS, OwnFailures
from service.http.problems import Problem
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for

PNG = {"content-type": "image/png"}


class Probed:
    """Failures with a time and a probe of the test's own."""

    def __init__(self) -> None:
        self.time, self.probes, self.works = 1000.0, 0, False
        self.failures = OwnFailures(self._probe, lambda: self.time)

    async def _probe(self) -> None:
        self.probes += 1
        if not self.works:
            raise RuntimeError("no")

    async def ready(self) -> bool:
        """Whether it says so; a probe that this begins has ended afterwards."""
        try:
            self.failures.check()
        except Problem as problem:
            assert problem.kind == "unhealthy"
            await asyncio.sleep(0)
            return False
        return True

    def fail(self, count: int, problem: str = "internal-error") -> None:
        for _ in range(count):
            self.failures.ended(False, problem)


def test_failures_in_a_row_count_and_a_success_ends_them() -> None:
    async def run() -> None:
        probed = Probed()
        probed.fail(FAILURES - 1)
        assert await probed.ready()
        probed.fail(1000, "not-an-image")
        probed.failures.ended(False, None)
        assert await probed.ready()
        probed.fail(1, "out-of-memory")
        assert not await probed.ready()
        probed.failures.ended(True, None)
        assert await probed.ready()

    asyncio.run(run())


def test_a_probe_now_and_then_makes_it_ready_again() -> None:
    async def run() -> None:
        probed = Probed()
        probed.fail(FAILURES)
        for _ in range(10):
            assert not await probed.ready()
        assert probed.probes == 1
        probed.time += PROBE_SECONDS
        probed.works = True
        assert not await probed.ready()
        assert await probed.ready()
        assert probed.probes == 2

    asyncio.run(run())


def test_a_service_without_memory_is_unready_until_it_has_some(
    discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.0)

    async def fail(*_: Any) -> None:
        raise MemoryError

    with TestClient(create_app(settings(), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "answer", fail)
            patch.setattr(Engine, "try_golden", fail)
            for _ in range(FAILURES):
                answered = client.post("/segment", content=encoded(picture()), headers=PNG)
                assert (answered.status_code, answered.headers["retry-after"]) == (503, "5")
                assert answered.json()["type"] == "/problems/out-of-memory"
            for _ in range(3):
                assert client.get("/readyz").json()["type"] == "/problems/unhealthy"
            assert client.get("/healthz").is_success
        wait_for(lambda: client.get("/readyz").is_success)
