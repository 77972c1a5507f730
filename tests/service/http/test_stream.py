"""Answers as streams, over real sockets: what is in the lines, and when each of them comes."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from export.bundle import Bundle
from model.pointrend import render
from model.pointrend.render import Render
from model.predict.predictor import Prediction
from service.engine.device import inference
from service.engine.request import Request
from service.http.problems import Problem
from service.http.schemas.answers import LabelAnswer, SegmentAnswer
from service.observe import access_log
from tests.service.engine.test_departures import cancelled
from tests.service.engine.test_pressure import COFFEE
from tests.service.http.test_problems import check
from tests.service.http.test_server import post, ready, waiting
from tests.service.support import (
    PATIENCE,
    Discs,
    disc_bundle,
    encoded,
    metrics,
    picture,
    running,
    wait_for,
)

NDJSON = "application/x-ndjson"
ONE: dict[str, Any] = {
    "score": 0.05,
    "max_instances": 1,
    "resolution": 224,
}  # whose levels are a step each: 28, 56, 112, 224


class Steps:
    """Lets the device take a step of the renderer for each permit, and fail in it if it is told to."""

    def __init__(self, permits: int) -> None:
        self._permits = threading.Semaphore(permits)
        self._advance = render.advance
        self.begun = 0
        self.failure: Exception | None = None

    def __call__(self, renders: Sequence[Render], *more: Any) -> None:
        self.begun += 1
        assert self._permits.acquire(timeout=PATIENCE)
        if self.failure is not None:
            raise self.failure
        self._advance(renders, *more)

    def forbid(self) -> None:
        """Take back the permits that were not used."""
        while self._permits.acquire(blocking=False):
            pass

    def allow(self, permits: int = 1) -> None:
        self._permits.release(permits)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    found = Steps(0)
    monkeypatch.setattr(inference, "advance", found)
    yield found
    found.allow(1000)


@pytest.fixture(scope="module")
def url(tiny: Bundle, label_maps: Bundle) -> Iterator[str]:
    with running(tiny, label_maps) as found:
        yield found


@contextmanager
def streaming(url: str, image: bytes = COFFEE, **params: Any) -> Iterator[httpx.Response]:
    headers = {"content-type": "image/png", "accept": NDJSON}
    with (
        httpx.Client(timeout=PATIENCE, verify=False) as client,
        client.stream("POST", f"{url}/segment", content=image, params=params, headers=headers) as response,
    ):
        yield response


def lines(response: httpx.Response) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in response.iter_lines())


def everything(url: str, image: bytes = COFFEE, **params: Any) -> list[dict[str, Any]]:
    with streaming(url, image, **params) as response:
        assert response.status_code == 200, response.read()
        return list(lines(response))


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from request to request."""
    return {name: value for name, value in answer.items() if name not in ("event", "id", "timings_ms")}


def test_each_line_comes_before_the_next_level_is_begun(url: str, steps: Steps) -> None:
    steps.allow()  # the head of the answer comes with the first line
    with streaming(url, **ONE) as response:
        found = lines(response)
        for side in (28, 56, 112):
            level = next(found)
            assert (level["event"], level["side"]) == ("level", side)
            assert [each["resolution"] for each in level["instances"]] == [side]
            steps.allow()
        assert next(found)["event"] == "done"
        assert next(found, None) is None
    assert steps.begun == 4


def test_the_last_line_is_the_plain_answer_and_the_others_are_like_it(url: str) -> None:
    params: dict[str, Any] = {"score": 0.05, "max_instances": 5, "resolution": 448}
    *levels, done = everything(url, **params)
    answered = post(url, COFFEE, **params).json()
    SegmentAnswer.model_validate({name: value for name, value in done.items() if name != "event"})
    assert list(done) == ["event", *answered]
    assert plain(done) == plain(answered)
    assert len(done["instances"]) == 5
    sides = [level["side"] for level in levels]
    assert sides[0] == 28 and sides == sorted(set(sides)) and sides[-1] < 448
    for level in levels:
        assert list(level) == ["event", "side", "model", "width", "height", "instances"]
        assert {each["resolution"] for each in level["instances"]} == {level["side"]}
        for early, late in zip(level["instances"], done["instances"], strict=True):
            assert list(early) == list(late)
            assert early["bbox"] == late["bbox"] and early["score"] == late["score"]


def test_a_level_is_what_a_request_for_that_resolution_gets(url: str) -> None:
    params: dict[str, Any] = {"score": 0.05, "max_instances": 3}
    first, *_ = everything(url, **params, resolution=224)
    assert first["instances"] == post(url, COFFEE, **params, resolution=28).json()["instances"]


def test_a_label_map_is_streamed_alike(url: str) -> None:
    *levels, done = everything(url, model="street")
    answered = post(url, COFFEE, model="street").json()
    LabelAnswer.model_validate({name: value for name, value in done.items() if name != "event"})
    assert plain(done) == plain(answered)
    heights = [level["side"] for level in levels]
    assert heights == sorted(set(heights)) and heights[-1] < done["resolution"] == done["height"]
    for level in levels:
        assert level["resolution"] == level["side"]
        assert sum(each["area"] for each in level["segments"]) == done["width"] * done["height"]


@pytest.mark.parametrize("format", ["rle_list", "polygon"])
def test_other_formats_are_streamed_alike(url: str, format: str) -> None:
    *levels, done = everything(url, **ONE, format=format)
    assert levels and plain(done) == plain(post(url, COFFEE, **ONE, format=format).json())


@pytest.mark.parametrize("form", [False, True], ids=["query", "form"])
def test_only_enveloped_formats_have_lines(url: str, form: bool) -> None:
    given: dict[str, Any] = {"data" if form else "params": {"format": "coco"}}
    files = {"image": COFFEE}
    refused = httpx.post(f"{url}/segment", files=files, headers={"accept": NDJSON}, verify=False, **given)
    check(refused, 422, "invalid-parameter")
    (error,) = refused.json()["errors"]
    assert error["parameter"] == "format" and "rle, rle_list, polygon" in error["detail"]


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        (NDJSON, True),
        ("Application/X-NDJSON; q=0.5, */*;q=0.1", True),
        ("application/json;q=0.3, application/x-ndjson;q=0.4", True),
        ("application/json, application/x-ndjson", False),
        ("application/x-ndjson;q=0", False),
        ("application/x-ndjson;q=much", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_a_stream_is_for_those_who_ask_for_one(discs: Discs, accept: str, streams: bool) -> None:
    with running(disc_bundle(discs)) as url:
        headers = {"content-type": "image/png", "accept": accept}
        answer = httpx.post(f"{url}/segment", content=encoded(picture()), headers=headers, verify=False)
    assert answer.headers["content-type"] == (NDJSON if streams else "application/json")
    assert ("event" in answer.json()) == streams
    if streams:
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["id"] == answer.headers["x-request-id"]


def test_masks_that_are_ready_with_the_coarse_pass_are_one_line(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        (done,) = everything(url, encoded(picture()))
        assert done["event"] == "done" and len(done["instances"]) == 2
        (nothing,) = everything(url, encoded(picture(brightness=0)))
        assert nothing["event"] == "done" and nothing["instances"] == []


def test_the_time_to_the_first_line_is_counted(tiny: Bundle, steps: Steps) -> None:
    steps.allow(100)
    with running(tiny) as url:
        with streaming(url, **ONE) as response:
            next(lines(response))
            assert 'pointrend_first_mask_seconds_count{model="tiny"} 1.0' in metrics(url)
        post(url, COFFEE, **ONE)
        assert 'pointrend_first_mask_seconds_count{model="tiny"} 1.0' in metrics(url)


def test_what_fails_before_the_first_line_is_a_problem_as_ever(url: str, steps: Steps) -> None:
    with streaming(url, b"no image") as response:
        response.read()
        check(response, 400, "not-an-image")
    steps.failure = ValueError("the device trips")
    steps.allow(10)
    with streaming(url, **ONE) as response:
        response.read()
        check(response, 500, "internal-error")


def test_what_fails_later_is_the_last_line(
    tiny: Bundle, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, access_log.LOGGER)
    steps.allow(100)
    with running(tiny) as url:
        steps.forbid()
        steps.allow()
        with streaming(url, **ONE) as response:
            found = lines(response)
            assert next(found)["event"] == "level"
            steps.failure = ValueError("a secret of the inside")
            steps.allow(10)
            *more, last = found
        assert more == [] and "secret" not in json.dumps(last)
        problem = Problem("internal-error", last["detail"]).content(response.headers["x-request-id"])
        assert last == {"event": "error", **problem}
        text = metrics(url)
        assert 'pointrend_request_seconds_count{route="/segment",status="500"} 1.0' in text
        assert 'pointrend_rejected_total{problem="internal-error"} 1.0' in text
        assert "pointrend_requests_in_flight 1.0" in text  # the one for the metrics
        steps.failure = None
        assert post(url, COFFEE, **ONE).status_code == 200
    records = [json.loads(r.message) for r in caplog.records if r.name == access_log.LOGGER]
    failed = next(record for record in records if record["id"] == response.headers["x-request-id"])
    assert (failed["status"], failed["problem"]) == (500, "internal-error")
    assert "a secret of the inside" in caplog.text


def test_a_client_that_leaves_is_dropped_between_levels_and_no_other_notices(url: str, steps: Steps) -> None:
    before = cancelled(url)
    with ExitStack() as stack:
        steps.allow()
        response = stack.enter_context(streaming(url, **ONE))
        assert next(lines(response))["side"] == 28
    wait_for(lambda: cancelled(url) != before)
    assert cancelled(url) == before | {"refine": before.get("refine", 0) + 1}
    wait_for(lambda: waiting(url, "refine") == 0)
    begun = steps.begun
    steps.allow(100)
    assert post(url, COFFEE, **ONE, points=784).status_code == 200
    assert steps.begun <= begun + 4  # of the step that had begun no other followed
    text = metrics(url)
    assert 'route="/segment",status="499"' in text


def test_at_a_deadline_the_finest_finished_masks_are_the_last_line(
    url: str, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = inference.Inference.begin
    inside: list[Request] = []

    def remembered(self: inference.Inference, requests: Sequence[Request]) -> list[Prediction]:
        inside.extend(requests)
        return begin(self, requests)

    monkeypatch.setattr(inference.Inference, "begin", remembered)
    steps.allow()
    with streaming(url, **ONE, deadline_ms=3_600_000) as response:
        found = lines(response)
        assert next(found)["side"] == 28
        wait_for(lambda: steps.begun == 2)
        (request,) = inside
        request.deadline_seconds = 0.0  # it comes while the device works on the second level
        steps.allow(100)
        *_, done = found
    (instance,) = done["instances"]
    assert (done["event"], instance["truncated"], instance["resolution"]) == ("done", True, 56)
    assert steps.begun == 2


def test_a_server_that_ends_finishes_its_streams(tiny: Bundle, steps: Steps) -> None:
    steps.allow(100)
    with ExitStack() as server:
        url = server.enter_context(running(tiny))
        steps.forbid()
        steps.allow()
        with streaming(url, **ONE) as response:
            found = lines(response)
            assert next(found)["side"] == 28
            ending = threading.Thread(target=server.close)
            ending.start()

            def is_closed() -> bool:
                try:
                    return not ready(url)
                except httpx.TransportError:
                    return True

            wait_for(is_closed)
            steps.allow(100)
            assert [line["event"] for line in found][-1] == "done"
        ending.join(PATIENCE)
        assert not ending.is_alive()
