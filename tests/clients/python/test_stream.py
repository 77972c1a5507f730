"""Streams in the Python client, of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import httpx
import numpy as np
import pytest

from export.bundle import Bundle
from pointrend_client import AsyncClient, Client, Refused, Retries, Segmentation, Unavailable
from tests.service.engine.test_departures import cancelled
from tests.service.http.test_stream import COFFEE, ONE, Steps, steps
from tests.service.support import running, wait_for

__all__ = ["steps"]
SIDES = [28, 56, 112, None]
DONE = (
    b'{"event":"done","id":"a","model":"m","width":2,"height":1,"degraded":false,'
    b'"instances":[],"timings_ms":{}}\n'
)


@pytest.fixture(scope="module")
def url(tiny: Bundle, label_maps: Bundle) -> Iterator[str]:
    with running(tiny, label_maps) as found:
        yield found


def test_each_level_comes_before_the_next_is_begun(url: str, steps: Steps) -> None:
    found: list[Segmentation] = []
    steps.allow()
    with Client(url) as client:
        for level in client.stream(COFFEE, **ONE):
            assert steps.begun <= len(found) + 2
            found.append(level)
            steps.allow()
        steps.allow(10)
        answer = client.segment(COFFEE, **ONE)
    assert [level.side for level in found] == SIDES
    assert found[-1].instances == answer.instances
    assert len({level.id for level in found}) == 1
    assert [level.instances[0].resolution for level in found] == [28, 56, 112, 224]
    assert found[0].masks().shape == answer.masks().shape
    assert found[-1].timings_ms and not found[0].timings_ms


def test_async_streams_are_alike(url: str, steps: Steps) -> None:
    async def sides() -> list[int | None]:
        async with AsyncClient(url) as client:
            found = []
            async for level in client.stream(COFFEE, **ONE):
                found.append(level.side)
                steps.allow()
            return found

    steps.allow()
    assert asyncio.run(sides()) == SIDES


def test_a_label_map_has_segments(url: str) -> None:
    with Client(url) as client:
        *levels, answer = client.stream(COFFEE, model="street")
        assert levels and all(level.segments and level.side for level in levels)
        assert answer.segments == client.segment(COFFEE, model="street").segments


def test_who_stops_reading_is_dropped(url: str, steps: Steps) -> None:
    before = cancelled(url)
    steps.allow()
    with Client(url, concurrency=1) as client:
        for level in client.stream(COFFEE, **ONE):
            assert level.side == 28
            break
        wait_for(lambda: cancelled(url) != before)
        steps.allow(100)
        assert client.segment(COFFEE, **ONE).instances  # the place in the client is free again

    async def leave() -> None:
        async with AsyncClient(url) as client, aclosing(client.stream(COFFEE, **ONE)) as levels:
            assert (await anext(levels)).side == 28

    asyncio.run(leave())


def test_a_refusal_is_raised_at_the_first_result(url: str) -> None:
    with Client(url) as client, pytest.raises(Refused, match="400: the content is not an image"):
        next(client.stream(b"no image"))


def test_a_failure_after_the_first_line_is_raised_and_not_tried_again(url: str, steps: Steps) -> None:
    steps.allow()
    with Client(url) as client:
        levels = client.stream(COFFEE, **ONE)
        assert next(levels).side == 28
        steps.failure = ValueError("the device trips")
        steps.allow(10)
        with pytest.raises(Refused, match="500: an unexpected error") as caught:
            next(levels)
    assert caught.value.problem["type"] == "/problems/internal-error"


LEVEL = b'{"event":"level","side":28,"model":"m","width":2,"height":1,"instances":[]}\n'
BUSY = {"type": "/problems/out-of-memory", "status": 503, "detail": "later"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (LEVEL, "ended before"),
        (LEVEL + b'{"event":"do', "ended before"),
        (LEVEL + b'{"event":"error","status":503,"detail":"later"}\n', "503: later"),
    ],
)
def test_what_ends_without_an_answer_is_an_error(
    body: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with Client("http://here", retries=Retries(seconds=0)) as client:
        monkeypatch.setattr(client, "_http", httpx.Client(transport=transport, base_url="http://here"))
        levels = client.stream(b"")
        assert next(levels).side == 28
        with pytest.raises(Unavailable, match=message):
            next(levels)


def test_a_busy_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([httpx.Response(503, json=BUSY), httpx.Response(200, content=LEVEL + DONE)])
    transport = httpx.MockTransport(lambda _: next(answers))
    with Client("http://here", retries=Retries(first_wait=0.01)) as client:
        monkeypatch.setattr(client, "_http", httpx.Client(transport=transport, base_url="http://here"))
        assert [level.side for level in client.stream(b"")] == [28, None]


def test_an_explanation_says_where_points_are(url: str) -> None:
    with Client(url) as client:
        (instance,) = client.segment(COFFEE, **ONE, explain=True).instances
        assert client.segment(COFFEE, **ONE).instances[0].explanation is None
    explained = instance.explanation
    assert explained is not None and explained.coarse.shape == (7, 7)
    assert [(level.side, len(level.cells)) for level in explained.levels] == [
        (side, 784) for side in (28, 56, 112, 224)
    ]
    for level in explained.levels:
        points = level.points
        assert points.shape == (784, 2) and points.min() > 0 and points.max() < 1
        columns, rows = np.floor(points * level.side).astype(int).T
        assert (rows * level.side + columns == level.cells).all()
