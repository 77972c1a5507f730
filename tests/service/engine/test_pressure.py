"""Deadlines, pressure and slow clients over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from service.app import create_app
from service.engine.device.inference import Inference
from service.engine.request import Request
from service.http.body import upload
from service.http.routes import segment
from service.http.wire import lingering
from tests.parity.goldens import FOLDER
from tests.service.http.test_server import post, waiting
from tests.service.support import Discs, beginning, disc_bundle, encoded, picture, running, settings, wait_for

COFFEE = (FOLDER / "coffee.png").read_bytes()
PNG = {"content-type": "image/png"}
SOON, LATE = 1_800_000, 3_600_000  # ms


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline of SOON comes during the request's coarse pass, one of LATE never."""
    begin = Inference.begin

    def passing(self: Inference, requests: Sequence[Request]) -> Any:
        for request in requests:
            if request.deadline_seconds == SOON / 1000:
                request.deadline_seconds = 0.0
        return begin(self, requests)

    monkeypatch.setattr(Inference, "begin", passing)


def ask(client: TestClient, **params: Any) -> Any:
    return client.post("/segment", content=COFFEE, headers=PNG, params={"score": 0.05, **params})


@pytest.mark.usefixtures("deadlines")
def test_a_deadline_gives_coarse_masks_marked_truncated(tiny_client: TestClient) -> None:
    whole = ask(tiny_client).json()["instances"]
    hurried = ask(tiny_client, deadline_ms=SOON)
    assert hurried.status_code == 200
    assert len(hurried.json()["instances"]) == len(whole) > 0
    for one, other in zip(whole, hurried.json()["instances"], strict=True):
        assert (other["resolution"], other["truncated"]) == (7, True)
        assert (one["truncated"], one["bbox"]) == (False, pytest.approx(other["bbox"]))
    assert hurried.json()["degraded"] is False
    assert all(not i["truncated"] for i in ask(tiny_client, deadline_ms=LATE).json()["instances"])
    # Nothing else in the tests that share this client ends at a deadline.
    assert 'pointrend_coarser_total{model="tiny",why="deadline"} 1.0' in tiny_client.get("/metrics").text


@pytest.mark.usefixtures("deadlines")
def test_a_server_may_have_a_deadline_for_all(tiny: Bundle) -> None:
    with TestClient(create_app(settings(deadline_ms=SOON), [tiny])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        assert {i["truncated"] for i in ask(client).json()["instances"]} == {True}
        assert {i["truncated"] for i in ask(client, deadline_ms=LATE).json()["instances"]} == {False}


def test_nothing_by_the_deadline_is_a_504(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        discs.gate.clear()
        blocked = threading.Thread(target=post, args=(url, encoded(picture())))
        blocked.start()
        wait_for(lambda: waiting(url, "coarse") == 1)
        late = post(url, encoded(picture()), deadline_ms=50)
        discs.gate.set()
        blocked.join()
        assert (late.status_code, late.json()["type"]) == (504, "/problems/deadline")
        assert "allow more time" in late.json()["detail"]


def test_under_pressure_masks_are_coarser_and_say_so(tiny: Bundle) -> None:
    with TestClient(create_app(settings(degrade_at=0.0), [tiny])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        for resolution, achieved in (("448", 112), ("112", 112), ("56", 56)):
            answered = ask(client, resolution=resolution).json()
            assert answered["degraded"] is (achieved < int(resolution))
            assert {i["resolution"] for i in answered["instances"]} == {achieved}
            assert {i["truncated"] for i in answered["instances"]} == {answered["degraded"]}
        assert 'pointrend_coarser_total{model="tiny",why="pressure"} 1.0' in client.get("/metrics").text


def test_the_queue_is_bounded(discs: Discs) -> None:
    with running(disc_bundle(discs), queue_length=1) as url:
        discs.gate.clear()
        inside = threading.Thread(target=post, args=(url, encoded(picture())))
        inside.start()
        wait_for(lambda: waiting(url, "coarse") == 1)
        refused = post(url, encoded(picture()))
        discs.gate.set()
        inside.join()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


def test_a_slow_client_delays_no_other(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url, beginning(url, 5000) as connection:
        for _ in range(3):
            connection.sendall(b"x")
            assert post(url, encoded(picture())).status_code == 200


def test_a_client_that_is_too_slow_is_told(discs: Discs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the time for its body is over, which begins with the body."""

    async def impatient(request: Any, limit: int, seconds: float, *more: Any) -> upload.Upload:
        return await upload.read_upload(request, limit, 0.1, *more)

    monkeypatch.setattr(segment, "read_upload", impatient)
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.1)
    with running(disc_bundle(discs)) as url, beginning(url, 5000) as connection:
        answered = ""
        while not answered.endswith("}"):
            part = connection.recv(4096).decode()
            assert part, answered
            answered += part
    assert answered.startswith("HTTP/1.1 408 ")
    assert "/problems/slow-body" in answered
