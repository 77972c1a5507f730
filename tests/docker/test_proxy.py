"""The proxy's own configuration, run: replicas found by DNS, load spread, nothing lost when one of them or it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.docker.tools import DOCKER, run, tool
from tests.parity.goldens import FOLDER
from tests.service.support import wait_for

CONFIG = DOCKER / "haproxy.cfg"
COFFEE = (FOLDER / "coffee.png").read_bytes()
ADDRESSES = ("127.0.0.1", "127.0.0.2")  # as replicas have: one port, an address each


@dataclass
class Names:
    """A name server that knows one name, whatever it is asked."""

    addresses: list[str]
    socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def __post_init__(self) -> None:
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._answer, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def _answer(self) -> None:
        while True:
            try:
                asked, client = self.socket.recvfrom(4096)
            except OSError:  # closed
                return
            question = asked[12 : asked.index(0, 12) + 5]
            known = self.addresses if question[-3] == 1 else []  # type A
            header = asked[:2] + b"\x81\x80\0\1" + len(known).to_bytes(2, "big") + b"\0\0\0\0"
            answers = [b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(map(int, each.split("."))) for each in known]
            self.socket.sendto(header + question + b"".join(answers), client)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        started = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def succeeds(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Fleet:
    url: str
    operation: str
    proxy: subprocess.Popen[bytes]
    replicas: tuple[subprocess.Popen[bytes], ...]
    urls: tuple[str, ...]

    def post(self, _: int = 0) -> int:
        headers = {"content-type": "image/png"}
        return httpx.post(f"{self.url}/segment", content=COFFEE, headers=headers, timeout=60).status_code

    def served(self, url: str) -> float:
        text = httpx.get(f"{url}/metrics").text
        name = 'pointrend_request_seconds_count{route="/segment",status="200"} '
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0)


@pytest.fixture
def fleet(exported: Callable[[str], Path], tmp_path: Path) -> Iterator[Fleet]:
    haproxy = tool("haproxy", "Debian's haproxy")
    bundle, port, public, operation = str(exported("tiny_r50")), free_port(), free_port(), free_port()
    names = Names(list(ADDRESSES))
    text = CONFIG.read_text()
    for here, there in (
        ("127.0.0.11:53", f"127.0.0.1:{names.port}"),
        ("pointrend:8000", f"pointrend:{port}"),
        ("bind :8000", f"bind 127.0.0.1:{public}"),
        ("bind :8404", f"bind 127.0.0.1:{operation}"),
    ):
        assert text.count(here) == 1
        text = text.replace(here, there)
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    serve = [
        sys.executable,
        "-m",
        "service",
        "serve",
        "--bundle",
        bundle,
        "--port",
        str(port),
        "--threads",
        "1",
    ]
    with ExitStack() as stack:
        stack.callback(names.socket.close)
        replicas = [
            stack.enter_context(process([*serve, "--host", address], tmp_path / f"{address}.log"))
            for address in ADDRESSES
        ]
        proxy = stack.enter_context(process([haproxy, "-db", "-f", str(config)], tmp_path / "proxy.log"))
        urls = tuple(f"http://{address}:{port}" for address in ADDRESSES)
        found = Fleet(
            f"http://127.0.0.1:{public}", f"http://127.0.0.1:{operation}", proxy, tuple(replicas), urls
        )
        wait_for(lambda: all(map(succeeds, (f"{url}/readyz" for url in urls))), 60)
        wait_for(lambda: found_by_proxy(found) == 2, 30)
        yield found


def found_by_proxy(fleet: Fleet) -> int:
    text = httpx.get(f"{fleet.operation}/metrics").text
    up = 'haproxy_server_status{proxy="replicas",server="replica-'
    return sum(
        line.startswith(up) and 'state="UP"' in line and float(line.split()[-1]) == 1
        for line in text.splitlines()
    )


def test_haproxy_accepts_the_file() -> None:
    run(tool("haproxy", "Debian's haproxy"), "-c", "-q", "-f", str(CONFIG))


def test_replicas_share_the_load_and_end_without_a_loss(fleet: Fleet) -> None:
    assert succeeds(f"{fleet.operation}/healthz")
    assert httpx.get(f"{fleet.url}/metrics").status_code == 404
    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(fleet.post, range(16))) == {200}
        counts = [fleet.served(url) for url in fleet.urls]
        assert sum(counts) == 16 and min(counts) >= 5

        answers = [clients.submit(fleet.post) for _ in range(24)]
        time.sleep(0.3)
        fleet.replicas[1].send_signal(signal.SIGTERM)
        assert [answer.result() for answer in answers] == [200] * 24
        assert fleet.replicas[1].wait(30) == 0
        wait_for(lambda: found_by_proxy(fleet) == 1, 10)

        last = [clients.submit(fleet.post) for _ in range(4)]
        wait_for(lambda: b"in_flight 5.0" in httpx.get(f"{fleet.urls[0]}/metrics").content, 10)
        fleet.proxy.send_signal(signal.SIGUSR1)
        assert [answer.result() for answer in last] == [200] * 4
        assert fleet.proxy.wait(10) == 0
