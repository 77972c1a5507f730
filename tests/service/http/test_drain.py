"""A server in a process of its own, told to end while it works, or killed."""

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
def serving(bundle: Path, folder: Path, port: int | None = None, **environment: str) -> Iterator[Served]:
    if port is None:
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


def test_kill_leaves_nothing_behind(
    exported: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it computes one request and receives another, whose large part of a form is in a temporary file."""
    for name in ("ORT_DISABLE_TELEMETRY", "CI"):  # either would keep ONNX Runtime from leaving files
        monkeypatch.delenv(name, raising=False)
    own, home = tmp_path / "tmp", tmp_path / "home"
    own.mkdir()
    home.mkdir()
    places = {"TMPDIR": str(own), "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    bundle = exported("tiny_r50")
    written = sorted(path.name for path in bundle.iterdir())
    with serving(bundle, tmp_path, **places) as served, ThreadPoolExecutor(1) as clients:
        port = int(served.url.rpartition(":")[2])
        asked = clients.submit(served.post)
        with socket.create_connection(("127.0.0.1", port)) as sending:
            part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            sending.sendall(
                b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                b"Content-Length: 9000000\r\n\r\n" + part + bytes(4_000_000)
            )
            wait_for(lambda: served.in_flight(2) and spooled(served.process.pid, own))
            served.process.kill()
            served.process.wait()
            assert isinstance(asked.exception(), httpx.TransportError)
    assert list(own.rglob("*")) == []
    assert list(home.rglob("*")) == []
    assert sorted(path.name for path in bundle.iterdir()) == written
    with serving(bundle, tmp_path, port, **places) as again:
        assert again.post().status_code == 200
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(30) == 0
    assert list(own.rglob("*")) == []


def spooled(pid: int, folder: Path) -> bool:
    """Whether the process has a file open in the folder (Linux)."""
    return any(os.readlink(link).startswith(str(folder)) for link in Path(f"/proc/{pid}/fd").iterdir())
