"""What is recorded of a request that ends otherwise than with an answer."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.http.health import OwnFailures
from service.http.middleware import RequestRecorder
from service.observe import access_log
from service.observe.metrics import Metrics

START = {"type": "http.response.start", "status": 200, "headers": []}
SCOPE = {"type": "http", "headers": [], "method": "GET", "path": "/", "client": None}


async def never() -> None:
    raise AssertionError("nothing is probed")


async def cancelled_after(metrics: Metrics, *messages: Message) -> None:
    """A request that has sent these messages when it is cancelled."""
    reached = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        reached.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        pass

    recorder = RequestRecorder(app, metrics, OwnFailures(never))
    task = asyncio.ensure_future(recorder(dict(SCOPE), receive, send))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("messages", "lost", "status"),
    [
        ((), 1, "cancelled"),
        ((START,), 1, "cancelled"),
        ((START, {"type": "http.response.body", "body": b"a", "more_body": True}), 1, "cancelled"),
        ((START, {"type": "http.response.body", "body": b"a"}), 0, 200),
    ],
    ids=["nothing", "head", "half", "whole"],
)
def test_a_cancelled_request_is_lost_unless_its_answer_is_complete(
    messages: tuple[Any, ...], lost: int, status: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, access_log.LOGGER)
    metrics = Metrics()
    asyncio.run(cancelled_after(metrics, *messages))
    assert metrics.requests.lost == lost
    text = metrics.text().decode()
    assert f'pointrend_request_seconds_count{{route="other",status="{status}"}} 1.0' in text
    assert "pointrend_requests_in_flight 0.0" in text
    (line,) = (json.loads(record.message) for record in caplog.records if record.name == access_log.LOGGER)
    assert line["status"] == status


def test_memory_that_ends_outside_of_the_handlers_is_told_as_well() -> None:
    sent: list[Message] = []
    metrics = Metrics()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise MemoryError

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(RequestRecorder(app, metrics, OwnFailures(never))(dict(SCOPE), receive, send))
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["type"] == "/problems/out-of-memory"
    assert b'pointrend_rejected_total{problem="out-of-memory"} 1.0' in metrics.text()
