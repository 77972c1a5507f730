"""A server in a process of its own, told to end while it works."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.parity.goldens import FOLDER
from tests.service.support import wait_for

COFFEE = (FOLDER / "coffee.png").read_bytes()
LONG = {"score": 0.05, "resolution": 896, "points": 3136}


@dataclass(frozen=True)
class Served:
    url: str
    process: subprocess.Popen[str]

    def post(self) -> httpx.Response:
        headers = {"content-type": "image/png"}
        return httpx.post(f"{self.url}/segment", content=COFFEE, params=LONG, headers=headers, timeout=60)

    def in_flight(self, count: int) -> bool:
        return f"pointrend_requests_in_flight {count + 1}.0" in httpx.get(f"{self.url}/metrics").text


@contextmanager
def serving(bundle: Path, folder: Path, **environment: str) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--bundle", str(bundle), "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--threads", "1"],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
        )
        served = Served(f"http://127.0.0.1:{port}", process)
        try:
            wait_for(lambda: ready(served), 60)
            yield served
        finally:
            process.kill()
            process.wait()


def ready(served: Served) -> bool:
    assert served.process.poll() is None
    try:
        return httpx.get(f"{served.url}/readyz").is_success
    except httpx.TransportError:
        return False


def test_sigterm_loses_no_accepted_request(exported: Callable[[str], Path], tmp_path: Path) -> None:
    with serving(exported("tiny_r50"), tmp_path) as served, ThreadPoolExecutor(6) as clients:
        answers = [clients.submit(served.post) for _ in range(6)]
        wait_for(lambda: served.in_flight(6))
        served.process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200] * 6
        assert served.process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{served.url}/healthz")
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert sum(json.loads(line)["status"] == 200 for line in lines if "/segment" in line) == 6


def test_a_second_signal_ends_at_once(exported: Callable[[str], Path], tmp_path: Path) -> None:
    with serving(exported("tiny_r50"), tmp_path) as served, ThreadPoolExecutor(12) as clients:
        answers: list[Future[httpx.Response]] = [clients.submit(served.post) for _ in range(12)]
        wait_for(lambda: served.in_flight(12))
        for _ in range(2):
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        begin = time.monotonic()
        assert served.process.wait(30) == 1
        assert time.monotonic() - begin < 5
        assert any(answer.exception() for answer in answers)


def test_what_the_grace_time_did_not_suffice_for_is_in_the_exit_code(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    with (
        serving(exported("tiny_r50"), tmp_path, POINTREND_GRACE_SECONDS="1") as served,
        ThreadPoolExecutor(12) as clients,
    ):
        answers: list[Future[httpx.Response]] = [clients.submit(served.post) for _ in range(12)]
        wait_for(lambda: served.in_flight(12))
        served.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        assert served.process.wait(30) == 1
        assert time.monotonic() - begin < 10
        lost = [answer for answer in answers if answer.exception() or answer.result().status_code != 200]
        assert lost
