"""Servers in processes of their own, told to end while they work, or killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.parity.goldens import FOLDER
from tests.service.http.test_server import post
from tests.service.support import PATIENCE, encoded, get, metrics, picture, wait_for

COFFEE = (FOLDER / "coffee.png").read_bytes()
SMALL = encoded(picture())
LONG = "?score=0.05&resolution=896&points=3136"  # a second of work
TIDY = {"CI", "ORT_DISABLE_TELEMETRY"}  # with either, ONNX Runtime would leave no files
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


@dataclass(frozen=True)
class Served:
    """A server's process, and what it has logged."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def in_flight(self, count: int) -> bool:
        """Whether that many requests are, besides the one that asks."""
        return f"pointrend_requests_in_flight {count + 1}.0" in metrics(self.url)

    @contextmanager
    def asking(
        self, body: bytes, sent: int, query: str = "", kind: str = "image/png"
    ) -> Iterator[socket.socket]:
        """A connection with a request of which the head and `sent` bytes of the body are sent."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            head = (
                f"POST /segment{query} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:sent])
            yield connection

    def end(self) -> None:
        """Send SIGTERM, and wait until it has noticed."""
        self.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in self.log.read_text(), PATIENCE)

    def kill(self) -> None:
        """Send SIGKILL, and wait until it has ended."""
        self.process.kill()
        self.process.wait()


def everything(connection: socket.socket) -> bytes:
    """All that the server sends before it closes the connection; nothing if it resets it."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def start(bundle: Path, folder: Path, port: int | None = None, **environment: str) -> Served:
    """Start a server, which is not ready yet."""
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--bundle", str(bundle), "--port", str(port)]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--threads", "1"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in set(os.environ) - TIDY} | environment,
        )
    return Served(f"http://127.0.0.1:{port}", process, log)


@dataclass(frozen=True)
class Servers:
    """Servers that start together, because that takes them the longest."""

    patient: Served
    hurried: Served  # with a grace time of a second
    ended_twice: Served
    killed: Served
    killed_folders: tuple[Path, Path]  # for its temporary files, and its home


@pytest.fixture(scope="module")
def servers(exported: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    bundle = exported("tiny_r50")

    def folder() -> Path:
        return tmp_path_factory.mktemp("server")

    own, home = folder(), folder()
    with ExitStack() as stack:

        def started(**environment: str) -> Served:
            served = start(bundle, folder(), **environment)
            stack.callback(served.kill)
            return served

        found = Servers(
            started(POINTREND_GRACE_SECONDS="300"),
            started(POINTREND_GRACE_SECONDS="1"),
            started(),
            started(**places(own, home)),
            (own, home),
        )
        for served in (found.patient, found.hurried, found.ended_twice, found.killed):
            wait_for(served.is_ready, 5 * PATIENCE)
        yield found


def places(own: Path, home: Path) -> dict[str, str]:
    """Folders for everything that a process may leave behind, as its environment."""
    return {"TMPDIR": str(own), "HOME": str(home), "XDG_CACHE_HOME": str(home)}


def test_the_start_says_what_there_is_to_work_with(servers: Servers) -> None:
    lines = servers.patient.log.read_text().splitlines()
    (device,) = (number for number, line in enumerate(lines) if "device cpu, 1 threads" in line)
    assert re.search(r"INFO uvicorn\.error: memory .+ GB: up to .+ for bodies, ", lines[device + 1])


def test_sigterm_loses_no_accepted_request(servers: Servers) -> None:
    """Neither those whose bodies are on their way, nor one that is computed."""
    served = servers.patient
    with ExitStack() as stack:
        halves = [stack.enter_context(served.asking(SMALL, len(SMALL) // 2)) for _ in range(5)]
        wait_for(lambda: served.in_flight(5))
        busy = stack.enter_context(served.asking(COFFEE, len(COFFEE), LONG))
        wait_for(lambda: "/segment" in served.log.read_text() or served.in_flight(6))
        served.end()
        for half in halves:
            half.sendall(SMALL[len(SMALL) // 2 :])
        for connection in (*halves, busy):
            assert everything(connection).startswith(b"HTTP/1.1 200 ")
    assert served.process.wait(PATIENCE) == 0
    with pytest.raises(httpx.ConnectError):
        get(f"{served.url}/healthz")
    lines = [line for line in served.log.read_text().splitlines() if line.startswith("{")]
    assert sum(json.loads(line)["status"] == 200 for line in lines if "/segment" in line) == 6


def test_a_second_signal_ends_at_once(servers: Servers) -> None:
    """Without waiting for a body that would never come."""
    served = servers.ended_twice
    with served.asking(SMALL, 10) as connection:
        wait_for(lambda: served.in_flight(1))
        served.end()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE) == 1
        assert everything(connection) == b""


def test_what_the_grace_time_did_not_suffice_for_is_in_the_exit_code(servers: Servers) -> None:
    served = servers.hurried
    with served.asking(SMALL, 10) as connection:
        wait_for(lambda: served.in_flight(1))
        served.end()
        assert served.process.wait(PATIENCE) == 1
        assert not everything(connection).startswith(b"HTTP/1.1 200 ")
    assert '"status": "cancelled"' in served.log.read_text()


def test_kill_leaves_nothing_behind(
    servers: Servers, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    """While it computes one request and receives another, of which no part is in a temporary file."""
    served, (own, home) = servers.killed, servers.killed_folders
    bundle = exported("tiny_r50")
    written = sorted(path.name for path in bundle.iterdir())
    form = PART + bytes(24_000_000)
    with (
        served.asking(form, 20_000_000, kind="multipart/form-data; boundary=x") as sending,
        served.asking(COFFEE, len(COFFEE), LONG) as computed,
    ):
        wait_for(lambda: served.in_flight(2) or "/segment" in served.log.read_text())
        assert not open_files(served.process.pid, own)
        served.kill()
        assert everything(sending) == b""
        everything(computed)
    assert list(own.rglob("*")) == []
    assert list(home.rglob("*")) == []
    assert sorted(path.name for path in bundle.iterdir()) == written
    port = int(served.url.rpartition(":")[2])
    again = start(bundle, tmp_path, port, **places(own, home))
    try:
        wait_for(again.is_ready, 5 * PATIENCE)
        assert post(again.url, SMALL).status_code == 200
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(PATIENCE) == 0
    finally:
        again.kill()
    assert list(own.rglob("*")) == []


def open_files(pid: int, folder: Path) -> list[str]:
    """The files in this folder that the process has open (Linux), deleted ones, too."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(link))
    return [name for name in found if name.startswith(str(folder))]
