"""The proxy with its own configuration: it finds replicas by DNS, spreads load, and loses nothing when one ends."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest
from PIL import Image

from pointrend_client import Client
from tests.docker.proxy_files import CONFIG, Names, configured
from tests.docker.tools import (
    COFFEE,
    PNG,
    free_port,
    process,
    run,
    sample,
    serve_command,
    succeeds,
    tool,
)
from tests.service.http.test_problems import check
from tests.service.support import beginning, encoded, wait_for

BUFFER = 390_000  # bytes of a body that the proxy keeps until it is answered
ADDRESSES = ("127.0.0.1", "127.0.0.2")  # replicas have one port and an address each


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


def served(url: str) -> float:
    """Return how many requests a replica has answered."""
    return sample(url, 'pointrend_request_seconds_count{route="/segment",status="200"}')


def in_flight(url: str) -> float:
    """Return how many requests a replica has not answered yet, the one that asks for it left out."""
    return sample(url, "pointrend_requests_in_flight") - 1


@pytest.fixture
def fleet(
    exported: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    monkeypatch.setenv("POINTREND_QUEUE_SECONDS", "1000")  # no 429, however slow the machine is
    haproxy = tool("haproxy", "Debian's haproxy")
    bundle, port, public, operation = exported("tiny_r50"), free_port(), free_port(), free_port()
    names = Names(list(ADDRESSES))
    config = configured(tmp_path, public, operation, names.port, port)
    with ExitStack() as stack:
        stack.callback(names.socket.close)
        replicas = tuple(
            stack.enter_context(process(serve_command(bundle, address, port), tmp_path / f"{address}.log"))
            for address in ADDRESSES
        )
        proxy = stack.enter_context(process([haproxy, "-db", "-f", str(config)], tmp_path / "proxy.log"))
        urls = tuple(f"http://{address}:{port}" for address in ADDRESSES)
        found = Fleet(f"http://127.0.0.1:{public}", f"http://127.0.0.1:{operation}", proxy, replicas, urls)
        wait_for(lambda: all(succeeds(f"{url}/readyz") for url in urls), 600)  # two whole services start
        wait_for(lambda: found_by_proxy(found) == 2)
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
        answer = client.get(f"{fleet.url}/models", headers=claims | {"x-forwarded-prefix": "/theirs"})
        assert answer.is_success and answer.headers["x-request-id"] == "whose"

    def entries() -> list[dict[str, object]]:
        lines = [line for a in ADDRESSES for line in (tmp_path / f"{a}.log").read_text().splitlines()]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in found if entry["id"] == "whose"]

    wait_for(entries, 30)
    assert [(entry["client"], entry["path"]) for entry in entries()] == [("127.0.0.9", "/models")]


def test_replicas_share_the_load_and_end_without_a_loss(fleet: Fleet) -> None:
    assert succeeds(f"{fleet.operation}/healthz")
    assert httpx.get(f"{fleet.url}/metrics").status_code == 404
    leaving = fleet.urls[1]
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
            wait_for(lambda: in_flight(leaving) >= 1)
            fleet.replicas[1].send_signal(signal.SIGTERM)
            assert fleet.replicas[1].wait(60) == 0
            wait_for(lambda: found_by_proxy(fleet) == 1)
        finally:
            ended.set()
        statuses = [status for answer in answers for status in answer.result()]
        assert len(statuses) >= 24 and set(statuses) == {200}

    # The proxy is told to end while it has requests: their bodies are sent afterwards.
    with ExitStack() as stack:
        begun = [stack.enter_context(beginning(fleet.url, len(COFFEE))) for _ in range(4)]
        for connection in begun:
            connection.sendall(COFFEE[:1000])
        wait_for(
            lambda: sample(fleet.operation, 'haproxy_frontend_current_sessions{proxy="public"}') == 4, 60
        )
        fleet.proxy.send_signal(signal.SIGUSR1)
        wait_for(lambda: not succeeds(f"{fleet.operation}/healthz"))
        for connection in begun:
            connection.sendall(COFFEE[1000:])
        for connection in begun:
            with HTTPResponse(connection) as response:
                response.begin()
                assert response.status == 200 and json.loads(response.read())["model"]
    assert fleet.proxy.wait(60) == 0


def at_replicas(fleet: Fleet) -> int:
    """Return how many requests the proxy has sent to replicas that have not answered."""
    lines = httpx.get(f"{fleet.operation}/metrics", timeout=30).text.splitlines()
    name = 'haproxy_server_current_sessions{proxy="replicas"'
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(name)))


def test_a_replica_that_is_killed_loses_nothing_that_the_proxy_still_has(fleet: Fleet) -> None:
    """Both replicas stand still until each has half of the requests; then one is killed, and the other goes on.

    What the proxy has as a whole it sends to the other one. What is larger than its buffer is a 502, which the client
    does not show, because it sends it again.
    """
    picture = Image.open(io.BytesIO(COFFEE)).convert("RGB")
    small = encoded(picture, "JPEG")
    assert len(small) < BUFFER < len(COFFEE)

    def post(body: bytes) -> httpx.Response:
        headers = {"content-type": "application/octet-stream"}
        return httpx.post(f"{fleet.url}/segment", content=body, headers=headers, timeout=120)

    for replica in fleet.replicas:
        replica.send_signal(signal.SIGSTOP)
    with Client(fleet.url) as client, ThreadPoolExecutor(10) as senders:
        within = [senders.submit(post, small) for _ in range(4)]
        wait_for(lambda: at_replicas(fleet) == 4)
        beyond = [senders.submit(post, COFFEE) for _ in range(2)]
        wait_for(lambda: at_replicas(fleet) == 6)
        through_client = [senders.submit(client.segment, COFFEE) for _ in range(4)]
        wait_for(lambda: at_replicas(fleet) == 10)
        fleet.replicas[1].kill()
        fleet.replicas[0].send_signal(signal.SIGCONT)
        assert [each.result().status_code for each in within] == [200] * 4
        assert {each.result().model for each in through_client} == {
            json.loads(within[0].result().text)["model"]
        }
        lost, answered = sorted((each.result() for each in beyond), key=lambda answer: -answer.status_code)
    assert answered.status_code == 200
    check(lost, 502, "replica-failed")
    assert lost.headers["retry-after"] == "1"
    assert served(fleet.urls[0]) == 9


def test_without_a_replica_the_proxy_answers_as_the_service_does(fleet: Fleet) -> None:
    for replica in fleet.replicas:
        replica.kill()
    statuses = {fleet.post() for _ in range(8)}
    wait_for(lambda: found_by_proxy(fleet) == 0)
    assert statuses <= {502, 503}
    answer = httpx.get(f"{fleet.url}/models", headers={"x-request-id": 'a "quoted" \\ id'})
    check(answer, 503, "no-replica")
    assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("2", 'a "quoted" \\ id')
    check(httpx.get(f"{fleet.url}/metrics"), 404, "not-found")
