"""Deadlines, pressure and slow clients over HTTP."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from model.predict.coarse import InstanceCoarse
from service.app import create_app
from tests.parity.goldens import FOLDER
from tests.service.http.test_server import post, ready, waiting
from tests.service.support import Discs, beginning, disc_bundle, encoded, picture, running, settings, wait_for

COFFEE = (FOLDER / "coffee.png").read_bytes()
PNG = {"content-type": "image/png"}


def slow(bundle: Bundle, seconds: float) -> Bundle:
    """With a coarse pass that takes this much longer."""

    def run(*inputs: Any) -> InstanceCoarse:
        time.sleep(seconds)
        return bundle.predictor.run(*inputs)

    return replace(bundle, predictor=replace(bundle.predictor, run=run))


def ask(client: TestClient, **params: Any) -> Any:
    return client.post("/segment", content=COFFEE, headers=PNG, params={"score": 0.05, **params})


def test_a_deadline_gives_coarse_masks_marked_truncated(tiny: Bundle) -> None:
    with TestClient(create_app(settings(), [slow(tiny, 0.7)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        whole = ask(client).json()["instances"]
        hurried = ask(client, deadline_ms=600)
        assert hurried.status_code == 200
        assert len(hurried.json()["instances"]) == len(whole) > 0
        for one, other in zip(whole, hurried.json()["instances"], strict=True):
            assert (other["resolution"], other["truncated"]) == (7, True)
            assert (one["truncated"], one["bbox"]) == (False, pytest.approx(other["bbox"]))
        assert hurried.json()["degraded"] is False
        assert all(not i["truncated"] for i in ask(client, deadline_ms=60_000).json()["instances"])
        assert 'pointrend_coarser_total{model="tiny",why="deadline"} 1.0' in client.get("/metrics").text


def test_a_server_may_have_a_deadline_for_all(tiny: Bundle) -> None:
    with TestClient(create_app(settings(deadline_ms=600), [slow(tiny, 0.7)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        assert {i["truncated"] for i in ask(client).json()["instances"]} == {True}
        assert {i["truncated"] for i in ask(client, deadline_ms=60_000).json()["instances"]} == {False}


def test_nothing_by_the_deadline_is_a_504(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
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


def test_the_queue_is_bounded_by_cost(discs: Discs) -> None:
    with running(disc_bundle(discs), queue_seconds=1e-9) as url:
        wait_for(lambda: ready(url))
        discs.gate.clear()
        inside = threading.Thread(target=post, args=(url, encoded(picture())))
        inside.start()
        wait_for(lambda: waiting(url, "coarse") == 1)
        refused = post(url, encoded(picture()))
        discs.gate.set()
        inside.join()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


def test_a_slow_client_holds_nobody_up_and_is_told(discs: Discs) -> None:
    """A byte now and then: others are served meanwhile, and after its time it gets an answer."""
    with running(disc_bundle(discs), body_seconds=1.0) as url:
        wait_for(lambda: ready(url))
        with beginning(url, 5000) as connection:
            for _ in range(3):
                connection.sendall(b"x")
                assert post(url, encoded(picture())).status_code == 200
            answered = ""
            while part := connection.recv(4096):
                answered += part.decode()
        assert answered.startswith("HTTP/1.1 408 ")
        assert "/problems/slow-body" in answered


def test_departures_are_counted_where_they_happen(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        discs.gate.clear()
        for _ in range(2):  # the first is on the device, the second waits
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/segment", content=encoded(picture()), headers=PNG, timeout=1)
        discs.gate.set()
        wait_for(lambda: 'pointrend_cancelled_total{stage="queue"} 1.0' in httpx.get(f"{url}/metrics").text)
        assert 'pointrend_cancelled_total{stage="coarse"} 1.0' in httpx.get(f"{url}/metrics").text
