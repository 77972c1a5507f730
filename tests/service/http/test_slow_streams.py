"""Streams to clients that do not read: they get the newest level, hold up nobody, and are dropped in time."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from export.bundle import Bundle
from tests.service.http.test_connection import SMALL, whole
from tests.service.http.test_server import post, waiting
from tests.service.http.test_stream import COFFEE, NDJSON
from tests.service.support import PATIENCE, metrics, running, wait_for

BOXES = json.dumps([[10 * n, 0, 10 * n + 300, 400] for n in range(30)])
MANY: dict[str, Any] = {
    "boxes": BOXES,
    "resolution": 224,
    "format": "rle_list",
}  # a line is larger than the buffers


@contextmanager
def asking(url: str) -> Iterator[socket.socket]:
    """A connection on which a stream is asked for, and nothing read yet."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        found.settimeout(PATIENCE)
        found.connect((host, int(port)))
        found.sendall(
            f"POST /segment?{httpx.QueryParams(MANY)} HTTP/1.0\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            f"Accept: {NDJSON}\r\nContent-Length: {len(COFFEE)}\r\n\r\n".encode()
            + COFFEE
        )
        yield found


def answered(url: str) -> bool:
    """Whether the engine has done with a request of that many instances."""
    return 'pointrend_masks_total{model="tiny",side="224"} 30.0' in metrics(url)


def test_a_client_that_does_not_read_gets_no_backlog_and_holds_up_nobody(tiny: Bundle) -> None:
    with running(tiny, send_buffer=SMALL, answer_seconds=2 * PATIENCE) as url:
        with asking(url) as lazy:
            wait_for(lambda: answered(url))
            assert [waiting(url, stage) for stage in ("queue", "coarse", "refine")] == [0, 0, 0]
            assert "pointrend_requests_in_flight 2.0" in metrics(url)  # with the one for the metrics
            assert post(url, COFFEE, score=0.05, max_instances=1).status_code == 200
            head, _, body = whole(lazy).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        first, done = map(json.loads, body.splitlines())
        assert (first["event"], first["side"], done["event"]) == ("level", 28, "done")
        assert len(body) > 20 * SMALL and len(done["instances"]) == 30


def test_a_client_that_never_reads_is_dropped(tiny: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with running(tiny, send_buffer=SMALL, answer_seconds=0.5) as url, asking(url) as lazy:
        wait_for(lambda: "has not taken its answer" in caplog.text)
        wait_for(lambda: "pointrend_requests_in_flight 1.0" in metrics(url))
        with pytest.raises(ConnectionResetError):
            whole(lazy)
