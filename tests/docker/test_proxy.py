"""The proxy with its own configuration: it finds replicas by DNS, spreads load, and loses nothing when one ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from tests.docker.tools import COFFEE, DOCKER, PNG, free_port, process, run, serve_command, succeeds, tool
from tests.service.support import beginning, wait_for

CONFIG = DOCKER / "haproxy.cfg"
ADDRESSES = ("127.0.0.1", "127.0.0.2")  # replicas have one port and an address each


@dataclass
class Names:
    """A name server that answers every question with the same addresses."""

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


@dataclass(frozen=True)
class Fleet:
    """Replicas behind the proxy, all of them ready."""

    url: str
    operation: str
    proxy: subprocess.Popen[bytes]
    replicas: tuple[subprocess.Popen[bytes], ...]
    urls: tuple[str, ...]

    def post(self, _: int = 0) -> int:
        return httpx.post(f"{self.url}/segment", content=COFFEE, headers=PNG, timeout=60).status_code


def sample(url: str, name: str) -> float:
    """Return a sample of a page of metrics by its name and labels, 0 if it is not there."""
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def served(url: str) -> float:
    """Return how many requests a replica has answered."""
    return sample(url, 'pointrend_request_seconds_count{route="/segment",status="200"}')


def in_flight(url: str) -> float:
    """Return how many requests a replica has not answered yet, the one that asks for it left out."""
    return sample(url, "pointrend_requests_in_flight") - 1


@pytest.fixture
def fleet(exported: Callable[[str], Path], tmp_path: Path) -> Iterator[Fleet]:
    haproxy = tool("haproxy", "Debian's haproxy")
    bundle, port, public, operation = exported("tiny_r50"), free_port(), free_port(), free_port()
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
    with ExitStack() as stack:
        stack.callback(names.socket.close)
        replicas = tuple(
            stack.enter_context(process(serve_command(bundle, address, port), tmp_path / f"{address}.log"))
            for address in ADDRESSES
        )
        proxy = stack.enter_context(process([haproxy, "-db", "-f", str(config)], tmp_path / "proxy.log"))
        urls = tuple(f"http://{address}:{port}" for address in ADDRESSES)
        found = Fleet(f"http://127.0.0.1:{public}", f"http://127.0.0.1:{operation}", proxy, replicas, urls)
        wait_for(lambda: all(succeeds(f"{url}/readyz") for url in urls), 120)
        wait_for(lambda: found_by_proxy(found) == 2, 60)
        yield found


def found_by_proxy(fleet: Fleet) -> int:
    """Return how many replicas the proxy takes for healthy."""
    text = httpx.get(f"{fleet.operation}/metrics", timeout=30).text
    up = 'haproxy_server_status{proxy="replicas",server="replica-'
    return sum(
        line.startswith(up) and 'state="UP"' in line and float(line.split()[-1]) == 1
        for line in text.splitlines()
    )


def test_haproxy_accepts_the_file() -> None:
    run(tool("haproxy", "Debian's haproxy"), "-c", "-q", "-f", str(CONFIG))


def test_replicas_log_the_client_that_the_proxy_sees(fleet: Fleet, tmp_path: Path) -> None:
    """Not the proxy itself, and not whom the client claims to be."""
    claims = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6", "x-request-id": "whose"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.9")) as client:
        assert client.get(f"{fleet.url}/readyz", headers=claims).is_success

    def entries() -> list[dict[str, object]]:
        lines = [line for a in ADDRESSES for line in (tmp_path / f"{a}.log").read_text().splitlines()]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in found if entry["id"] == "whose"]

    wait_for(entries, 30)
    assert [entry["client"] for entry in entries()] == ["127.0.0.9"]


def test_replicas_share_the_load_and_end_without_a_loss(fleet: Fleet) -> None:
    assert succeeds(f"{fleet.operation}/healthz")
    assert httpx.get(f"{fleet.url}/metrics").status_code == 404
    staying, leaving = fleet.urls
    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(fleet.post, range(16))) == {200}
        counts = [served(url) for url in fleet.urls]
        assert sum(counts) == 16 and min(counts) >= 5

        # A replica is told to end while it has requests, and clients go on until it has ended.
        ended = threading.Event()

        def post_until_it_ended() -> list[int]:
            statuses = [fleet.post() for _ in range(6)]
            while not ended.is_set():
                statuses.append(fleet.post())
            return statuses

        answers = [clients.submit(post_until_it_ended) for _ in range(4)]
        try:
            wait_for(lambda: in_flight(leaving) >= 1, 60)
            fleet.replicas[1].send_signal(signal.SIGTERM)
            assert fleet.replicas[1].wait(60) == 0
            wait_for(lambda: found_by_proxy(fleet) == 1, 60)
        finally:
            ended.set()
        statuses = [status for answer in answers for status in answer.result()]
        assert len(statuses) >= 24 and set(statuses) == {200}

    # The proxy is told to end while requests are under way: their bodies are sent afterwards.
    with ExitStack() as stack:
        begun = [stack.enter_context(beginning(fleet.url, len(COFFEE))) for _ in range(4)]
        for connection in begun:
            connection.sendall(COFFEE[:1000])
        wait_for(lambda: in_flight(staying) == 4, 60)
        fleet.proxy.send_signal(signal.SIGUSR1)
        wait_for(lambda: not succeeds(f"{fleet.operation}/healthz"), 60)
        for connection in begun:
            connection.sendall(COFFEE[1000:])
        for connection in begun:
            with HTTPResponse(connection) as response:
                response.begin()
                assert response.status == 200 and json.loads(response.read())["model"]
    assert fleet.proxy.wait(60) == 0
