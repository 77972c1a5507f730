"""What hostile clients send over HTTP: each of them gets one clear answer, costs little, and stops nobody else."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.http.body import limits
from service.http.wire import connection
from service.http.wire.parser import CHUNKS, MAX_HEADERS, MIN_CHUNK
from service.observe.access_log import LOGGER
from tests.service.http.test_drain import everything
from tests.service.http.test_server import post, ready
from tests.service.http.wire.test_parser import CountingParser
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

GET = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
POST = b"POST /segment HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = encoded(picture())


@pytest.fixture
def discs() -> Discs:
    found = Discs()
    found.gate.set()
    return found


@pytest.fixture
def parsers(monkeypatch: pytest.MonkeyPatch) -> list[CountingParser]:
    """The parsers of all connections that are made."""
    made: list[CountingParser] = []

    def make() -> CountingParser:
        made.append(CountingParser())
        return made[-1]

    monkeypatch.setattr(connection, "Parser", make)
    return made


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as found:
        yield found


def exchange(url: str, sent: bytes) -> bytes:
    """All that is answered to these bytes until the server closes the connection."""
    with connected(url) as found:
        with suppress(ConnectionError):  # it was closed before everything was sent
            found.sendall(sent)
        return everything(found)


def problem(answer: bytes) -> dict[str, Any]:
    """The one problem that was answered."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    assert re.search(rb"(?i)\r\nconnection: close", head), answer
    assert re.search(rb"(?i)\r\nx-request-id: \S+", head), answer
    found: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % found["status"])
    return found


@pytest.mark.parametrize("before", [0, 3], ids=["at once", "after large ones"])
def test_tiny_chunks_are_refused_after_a_few(
    discs: Discs, parsers: list[CountingParser], before: int
) -> None:
    """A body that began well may not go on badly, either."""
    large = b"186a0\r\n" + bytes(100_000) + b"\r\n"
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        parsers.clear()
        answered = problem(exchange(url, CHUNKED + before * large + b"1\r\nx\r\n" * 200_000))
        assert (answered["type"], answered["status"]) == ("/problems/bad-request", 400)
        assert f"{CHUNKS} chunks must have {MIN_CHUNK} bytes" in answered["detail"]
        assert sum(parser.events for parser in parsers) < 2 * CHUNKS + before * 20
        assert 'pointrend_rejected_total{problem="bad-request"} 1.0' in metrics(url)


def test_what_follows_a_refusal_is_not_parsed(discs: Discs, parsers: list[CountingParser]) -> None:
    """A client without a key gets its answer, and what it goes on to send costs nothing but its reception."""
    with running(disc_bundle(discs), api_keys="secret") as url:
        wait_for(lambda: ready(url))
        parsers.clear()
        with connected(url) as found:
            found.sendall(CHUNKED)
            head = found.recv(1000)
            assert head.startswith(b"HTTP/1.1 401 ")
            found.sendall(b"40\r\n" + bytes(64) + b"\r\n" + b"1\r\nx\r\n" * 200_000)
            found.shutdown(socket.SHUT_WR)
            assert problem(head + everything(found))["type"] == "/problems/unauthorized"
        assert sum(parser.events for parser in parsers) == 1


def test_reasonable_chunks_are_a_body_like_any_other(discs: Discs) -> None:
    image = GOOD + bytes(5 * CHUNKS * MIN_CHUNK)  # after the end of the file
    chunks = [image[begin : begin + MIN_CHUNK + 8] for begin in range(0, len(image), MIN_CHUNK + 8)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        sent = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body + b"0\r\n\r\n"
        assert exchange(url, sent).startswith(b"HTTP/1.1 200 ")


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "no colon": GET + b"what\r\n\r\n",
    "no name": GET + b": what\r\n\r\n",
    "space before the colon": GET + b"What : a\r\n\r\n",
    "a fold first": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "NUL": GET + b"What: a\0b\r\n\r\n",
    "CR": GET + b"What: a\rb\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "signed length": POST + b"Content-Length: +1\r\n\r\n",
    "length in words": POST + b"Content-Length: one\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": POST + b"Content-Length: 1, 2\r\n\r\nab",
    "an endless length": POST + b"Content-Length: " + b"1" * 50 + b"\r\n\r\n",
    "unknown encoding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "two encodings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "encoding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "negative chunk": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "chunk size in words": CHUNKED + b"xyz\r\na\r\n0\r\n\r\n",
    "an endless chunk size": CHUNKED + b"1" * 30 + b"\r\n",
    "too long a chunk": CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
    "an endless extension": CHUNKED + b"1;" + b"a" * 40_000,
    "an endless trailer": CHUNKED + b"0\r\n" + b"a: b\r\n" * 8000,
    "a bad trailer": CHUNKED + b"0\r\nwhat\r\n\r\n",
    "an endless target": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "an endless line": GET + b"What: " + b"a" * 40_000 + b"\r\n\r\n",
    "an unfinished line": GET + b"What: " + b"a" * 40_000,
    "too many headers": GET + b"a: b\r\n" * MAX_HEADERS + b"\r\n",
    "short headers": GET + b"a:\r\n" * 3000 + b"\r\n",
}


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    found = Discs()
    found.gate.set()
    with running(disc_bundle(found)) as url:
        wait_for(lambda: ready(url))
        yield url


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_http_is_a_problem_like_any_other(
    patient: str, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    before = refused(patient)
    answered = problem(exchange(patient, sent))
    assert (answered["type"], answered["status"]) == ("/problems/bad-request", 400)
    assert "cannot be read: " in answered["detail"]
    assert len(answered["detail"]) < 300
    assert refused(patient) == before + 1
    lines = [json.loads(record.message) for record in caplog.records if record.name == LOGGER]
    (line,) = (each for each in lines if each["status"] == 400)
    assert (line["id"], line["problem"]) == (answered["request_id"], "bad-request")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def refused(url: str) -> float:
    found = re.search(r'pointrend_rejected_total\{problem="bad-request"\} (\S+)', metrics(url))
    return float(found[1]) if found else 0.0


def test_two_ways_to_tell_the_length_close_the_connection(patient: str) -> None:
    """What one server takes for a request may be the body of another one's (RFC 9112, 6.1)."""
    both = GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answered = exchange(patient, both + GET + b"\r\n")
    assert answered.count(b"HTTP/1.1 200 ") == 1
    assert b"connection: close" in answered.lower()


def test_requests_in_a_row_are_answered_in_a_row(patient: str) -> None:
    many = b"".join(GET + b"X-Request-Id: n%d\r\n\r\n" % number for number in range(200))
    answered = exchange(patient, many + GET + b"Connection: close\r\n\r\n")
    assert re.findall(rb"x-request-id: n(\d+)", answered) == [b"%d" % number for number in range(200)]


def test_garbage_after_a_request_is_answered_after_it(patient: str) -> None:
    first, second, last = exchange(patient, GET + b"\r\n" + MALFORMED["no HTTP"]).split(b"HTTP/1.1 ")
    assert (first, second[:4]) == (b"", b"200 ")
    assert problem(b"HTTP/1.1 " + last)["type"] == "/problems/bad-request"


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"p{number}=1" for number in range(1000)),
        "&" * 5000,
        "a" * 5000 + "=1",
        "score=" + "9" * 5000,
    ],
    ids=["names", "nothing", "a long name", "a long value"],
)
def test_no_query_gets_a_long_answer(patient: str, query: str) -> None:
    answered = httpx.post(f"{patient}/segment?{query}", content=GOOD, headers={"content-type": "image/png"})
    assert answered.status_code == 422
    assert len(answered.content) < 2000
    assert answered.json()["type"] == "/problems/invalid-parameter"


def test_a_form_needs_no_folder_for_temporary_files(
    discs: Discs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = GOOD + bytes(5_000_000)
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        files = {"image": ("a.png", image, "image/png")}
        assert httpx.post(f"{url}/segment", files=files, timeout=PATIENCE).status_code == 200


def test_slow_senders_do_not_keep_the_memory_of_bodies(discs: Discs, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold all of it, and leave it to whoever sends at a proper rate."""
    monkeypatch.setattr(limits, "GRACE", 0.2)
    large = GOOD + bytes(50_000)
    with running(
        disc_bundle(discs), held_bytes=200_000, max_body_bytes=100_000, body_seconds=PATIENCE
    ) as url:
        wait_for(lambda: ready(url))
        with ExitStack() as stack:
            slow = [stack.enter_context(beginning(url, 90_000)) for _ in range(10)]
            for each in slow:
                each.sendall(bytes(20_000))
            wait_for(lambda: 'budget_used_bytes{budget="held"} 200000.0' in metrics(url))
            wait_for(lambda: post(url, large).status_code == 200)
            dropped = [each for each in slow if answer_of(each)]
            assert dropped
            kinds = {problem(everything(each))["type"] for each in dropped}
            assert kinds == {"/problems/slow-body"}
            assert len(dropped) < len(slow)  # no more than needed


def answer_of(found: socket.socket) -> bytes:
    """What has been answered up to now, which is not taken."""
    found.setblocking(False)
    try:
        return found.recv(1000, socket.MSG_PEEK)
    except BlockingIOError:
        return b""
    finally:
        found.settimeout(PATIENCE)


def test_idle_connections_make_room_for_others(discs: Discs) -> None:
    with running(disc_bundle(discs), max_connections=5) as url, ExitStack() as stack:
        wait_for(lambda: ready(url))
        idle = [stack.enter_context(connected(url)) for _ in range(20)]
        for _ in range(3):
            assert get(f"{url}/healthz").is_success
        assert all(everything(each) == b"" for each in idle[:15])


def test_without_an_idle_one_the_newcomer_is_told(discs: Discs) -> None:
    with running(disc_bundle(discs), max_connections=3) as url, ExitStack() as stack:
        wait_for(lambda: ready(url))
        ask = GET + b"Connection: close\r\n\r\n"

        def told() -> bytes:
            stack.enter_context(beginning(url, 100)).sendall(b"x")
            answer = exchange(url, ask)
            return answer if b" 503 " in answer else b""

        wait_for(told)
        assert problem(told())["type"] == "/problems/connections-full"
        stack.close()
        wait_for(lambda: b" 200 " in exchange(url, ask))
        assert 'pointrend_rejected_total{problem="connections-full"}' in metrics(url)


@contextmanager
def few_files(bundle: Path, log: Path, files: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server in a process of its own that may have so many files open."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--bundle", str(bundle), "--port", str(port)]
    limited = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files})); "
    limited += "os.execv(sys.argv[1], sys.argv[1:])"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", limited, *command, "--threads", "1"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"POINTREND_BODY_SECONDS": "2"},
        )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def test_more_sockets_than_files_lock_nobody_out(exported: Callable[[str], Path], tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 400
    log = tmp_path / "log"
    with few_files(exported("tiny_r50"), log, 64) as (url, process), ExitStack() as stack:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return ready(url)
            except httpx.TransportError:
                return False

        wait_for(is_ready, 5 * PATIENCE)
        for _ in range(200):
            stack.enter_context(connected(url))
        for _ in range(5):
            wait_for(is_ready)  # who sends no head is cut off after 2 s
        stack.close()
        assert post(url, GOOD).status_code == 200
        assert process.poll() is None
    assert log.stat().st_size < 50_000
