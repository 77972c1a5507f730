"""Clients that do not read, or that never come to a request: what they hold, and for how long."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from typing import Any

import httpx
import pytest

from tests.service.http.test_server import post, waiting
from tests.service.support import (
    PATIENCE,
    Discs,
    beginning,
    disc_bundle,
    encoded,
    get,
    metrics,
    picture,
    running,
    wait_for,
)

SMALL = 4096  # bytes of a socket's buffer
BOXES = json.dumps([[0, 0, 400, 400]] * 150)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
GOOD = b"HTTP/1.1 200"
HEALTHY = b'{"status":"ok"}'  # the end of the answer


@contextmanager
def asking(url: str, then: str = "close") -> Iterator[socket.socket]:
    """A connection, closed or kept then, on which some hundred kilobytes are asked for, and nothing read yet."""
    body = encoded(picture(400, 400))
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        found.settimeout(PATIENCE)
        found.connect((host, int(port)))
        query = httpx.QueryParams(boxes=BOXES, format="rle_list")
        found.sendall(
            f"POST /segment?{query} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {then}\r\n\r\n".encode()
            + body
        )
        yield found


def answered(url: str) -> bool:
    return 'pointrend_request_seconds_count{route="/segment",status="200"} 1.0' in metrics(url)


def idle(url: str) -> socket.socket:
    """A connection without a request."""
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def taken(found: socket.socket) -> list[Any]:
    """The instances of an answer, read now."""
    response = HTTPResponse(found)
    response.begin()
    instances: list[Any] = json.loads(response.read())["instances"]
    return instances


def whole(found: socket.socket, pause: float = 0.0, size: int = 65536) -> bytes:
    """All there is to read. Raises ConnectionResetError if the other side has given up."""
    parts = []
    while part := found.recv(size):
        parts.append(part)
        time.sleep(pause)
    return b"".join(parts)


def read_until(found: socket.socket, end: bytes) -> None:
    """Read up to and with these bytes."""
    read = b""
    while not read.endswith(end):
        part = found.recv(65536)
        assert part, read
        read += part


def test_an_unread_answer_holds_nothing_and_is_dropped(
    discs: Discs, caplog: pytest.LogCaptureFixture
) -> None:
    with running(disc_bundle(discs), send_buffer=SMALL, answer_seconds=1.0) as url:
        begin = time.monotonic()
        with asking(url) as lazy:
            wait_for(lambda: answered(url))
            assert "pointrend_requests_in_flight 1.0" in metrics(url)  # the one for the metrics
            assert [waiting(url, stage) for stage in ("queue", "coarse", "refine")] == [0, 0, 0]
            assert post(url, encoded(picture())).status_code == 200
            wait_for(lambda: "has not taken its answer in 1 s" in caplog.text)
            assert time.monotonic() - begin > 1
            with pytest.raises(ConnectionResetError):
                whole(lazy)


def test_reading_a_little_now_and_then_is_not_enough(discs: Discs) -> None:
    """At this pace it would take ten seconds at least."""
    with (
        running(disc_bundle(discs), send_buffer=SMALL, answer_seconds=0.3) as url,
        asking(url) as slow,
        pytest.raises(ConnectionResetError),
    ):
        whole(slow, pause=0.05, size=500)


def test_a_client_that_takes_it_in_time_gets_it_whole(discs: Discs, caplog: pytest.LogCaptureFixture) -> None:
    with (
        running(disc_bundle(discs), send_buffer=SMALL, answer_seconds=2 * PATIENCE) as url,
        asking(url) as lazy,
    ):
        wait_for(lambda: answered(url))
        head, _, body = whole(lazy).partition(b"\r\n\r\n")
    assert head.startswith(GOOD)
    assert len(body) > 20 * SMALL
    assert len(json.loads(body)["instances"]) == 150
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_answer_that_is_being_taken_is_not_cut_off_for_a_newcomer(discs: Discs) -> None:
    """Its connection has been without a request for longer than any other."""
    with running(disc_bundle(discs), send_buffer=SMALL, max_connections=2) as url, asking(url) as slow:
        wait_for(lambda: answered(url))
        for _ in range(5):
            with idle(url):
                assert get(f"{url}/healthz").is_success
        assert len(taken(slow)) == 150


def test_a_connection_whose_answer_is_taken_makes_room(discs: Discs) -> None:
    limits: dict[str, Any] = {"max_connections": 2, "body_seconds": 10 * PATIENCE}
    with (
        running(disc_bundle(discs), send_buffer=SMALL, **limits) as url,
        asking(url, "keep-alive") as slow,
    ):
        assert len(taken(slow)) == 150
        slow.sendall(HEALTH[:9])  # which ends uvicorn's own limit
        with beginning(url, 100):
            wait_for(lambda: get(f"{url}/healthz").is_success)
            with suppress(ConnectionResetError):  # if the last bytes were not read
                assert slow.recv(1) == b""


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"", b""), (b"", HEALTH[:-2]), (HEALTH, HEALTH[:9])],
    ids=["nothing", "half", "half of a second"],
)
def test_a_client_that_never_comes_to_a_request_is_cut_off(discs: Discs, first: bytes, second: bytes) -> None:
    with running(disc_bundle(discs), body_seconds=2) as url, idle(url) as silent:
        if first:
            silent.sendall(first)
            read_until(silent, HEALTHY)
        silent.sendall(second)  # which ends uvicorn's own limit, if there was an answer before
        assert whole(silent) == b""


def test_a_head_in_time_is_all_that_is_asked_for(discs: Discs) -> None:
    """Neither an answer nor a connection with several requests is cut off for taking longer."""
    limit = 3.0
    with running(disc_bundle(discs), body_seconds=limit) as url:
        discs.gate.clear()
        image = encoded(picture())
        with beginning(url, len(image)) as patient:
            patient.sendall(image)
            wait_for(lambda: waiting(url, "coarse") == 1)
            time.sleep(1.1 * limit)
            discs.gate.set()
            read_until(patient, b"}}")
            begin = time.monotonic()
            while time.monotonic() - begin < 1.1 * limit:
                patient.sendall(HEALTH)
                read_until(patient, HEALTHY)
