"""Windows of kept pictures by the Python clients, and clients that leave, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from export.bundle import Bundle
from pointrend_client import AsyncClient, Client, KeptImage, Refused
from service.decoding.threads import DecodeThreads
from service.engine import encoding
from service.engine.device import inference
from tests.service.engine.test_departures import Held, cancelled
from tests.service.engine.test_pressure import COFFEE
from tests.service.support import PATIENCE, beginning, metrics, running, wait_for

FEW = {"score": 0.05, "max_instances": 2, "resolution": 28}
KEPT = "pointrend_kept_pictures"


@pytest.fixture(scope="module")
def url(tiny: Bundle) -> Iterator[str]:
    with running(tiny, decoder=DecodeThreads(2)) as found:
        yield found


def gauge(url: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in metrics(url).splitlines() if line.startswith(f"{name} "))


def test_both_clients_segment_boxes_of_kept_pictures(url: str) -> None:
    boxes: Any = [[20, 30, 200, 210], [100.5, 50, 350, 300, "class_2"]]
    with Client(url) as client:
        kept = client.segment(COFFEE, **FEW, keep=60).kept
        assert kept is not None
        expected = client.segment(COFFEE, boxes=boxes, resolution=56)
        found = client.segment(KeptImage(kept), boxes=boxes, resolution=56)
        np.testing.assert_array_equal(found.masks(), expected.masks())
        assert [each.category for each in found.instances] == [each.category for each in expected.instances]
        *_, last = client.stream(KeptImage(kept), boxes=boxes, resolution=56)
        np.testing.assert_array_equal(last.masks(), expected.masks())
        with pytest.raises(Refused, match="404.*send it again to /segment"):
            client.segment(KeptImage("unknown"), boxes=boxes)
        with pytest.raises(Refused, match="422.*boxes: are needed"):
            client.segment(KeptImage(kept))

    async def same() -> None:
        async with AsyncClient(url) as other:
            again = await other.segment(KeptImage(kept), boxes=boxes, resolution=56)
            np.testing.assert_array_equal(again.masks(), expected.masks())

    asyncio.run(same())


def test_both_clients_render_windows(url: str) -> None:
    with Client(url) as client:
        found = client.segment(COFFEE, **FEW, keep=60)  # type: ignore[arg-type]
        assert client.segment(COFFEE, **FEW).kept is None  # type: ignore[arg-type]
        assert found.kept is not None
        x, y, w, h = found.instances[1].bbox
        window = (x, y, x + w / 2, y + h)
        grey = client.render(found.kept, 1, window=window, size=(90, 70))
        assert grey.shape == (70, 90) and grey.dtype == np.uint8
        with pytest.raises(Refused, match="404.*send it again to /segment"):
            client.render("unknown", 1, window=window, size=(90, 70))
        with pytest.raises(Refused, match="422.*window: must be x0,y0,x1,y1 within the"):
            client.render(found.kept, 1, window=(0, 0, 1e9, 1), size=(90, 70))

    async def same() -> None:
        async with AsyncClient(url) as other:
            assert found.kept is not None
            again = await other.render(found.kept, 1, window=window, size=(90, 70), points="auto")
            np.testing.assert_array_equal(again, grey)

    asyncio.run(same())


def test_the_answer_to_a_client_that_left_keeps_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held, pictures, left = Held(encoding.encode), gauge(url, KEPT), cancelled(url)
    monkeypatch.setattr(encoding, "encode", held)
    with beginning(url, len(COFFEE), "?" + urlencode(FEW | {"keep": 60})) as connection:
        connection.sendall(COFFEE)
        wait_for(lambda: held.begun)
    wait_for(lambda: cancelled(url) != left)
    held.gate.set()
    assert gauge(url, KEPT) == pictures


def test_a_window_for_a_client_that_left_is_dropped(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(url) as client:
        found = client.segment(COFFEE, **FEW, keep=60)  # type: ignore[arg-type]
        x, y, w, h = found.instances[0].bbox
        window = f"{x},{y},{x + w},{y + h}"
        query = urlencode({"id": found.kept, "instance": 0, "window": window, "width": 300, "height": 300})
        held, left = Held(inference.advance), cancelled(url)
        monkeypatch.setattr(inference, "advance", held)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(f"POST /render?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            wait_for(lambda: held.begun)
        wait_for(lambda: cancelled(url) == left | {"refine": left.get("refine", 0) + 1})
        held.gate.set()
        monkeypatch.undo()
        assert found.kept is not None
        assert client.render(found.kept, 0, window=(x, y, x + w, y + h), size=(30, 30)).any()
    assert gauge(url, "pointrend_queue_seconds") == 0


@pytest.mark.parametrize(
    "length", [b"Content-Length: 5\r\n\r\nimage", b"Transfer-Encoding: chunked\r\n\r\n5\r\nimage"]
)
def test_a_body_is_not_needed_and_not_waited_for(url: str, length: bytes) -> None:
    """Nor does one that is not complete keep the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"POST /render?id=x HTTP/1.1\r\nHost: {host}\r\n".encode() + length)
        assert connection.recv(1000).startswith(b"HTTP/1.1 422 ")
