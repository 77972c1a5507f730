"""Clients that leave, over real sockets: each is counted once, in the stage where it was, and delays no other."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import MethodType
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from model.predict.instance import InstancePrediction
from service.app import create_app
from service.engine import engine, inference
from service.engine.workers import SPARE_DECODERS
from service.output import instances
from tests.service.engine.test_pressure import COFFEE, PNG
from tests.service.http.test_server import post, ready, waiting
from tests.service.support import (
    PATIENCE,
    Discs,
    beginning,
    disc_bundle,
    encoded,
    metrics,
    picture,
    running,
    settings,
    wait_for,
)


def cancelled(url: str) -> dict[str, float]:
    """Departures by stage."""
    text = metrics(url)
    found = re.findall(r'^pointrend_cancelled_total{stage="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {stage: float(count) for stage, count in found}


class Held:
    """A function or method that begins, and does not go on before the gate opens."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.gate = threading.Event()
        self.begun = 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        self.begun += 1
        assert self.gate.wait(PATIENCE)
        return self._call(*args, **more)

    def __get__(self, instance: object, owner: type) -> Any:
        return MethodType(self, instance)


@pytest.fixture(scope="module")
def url(tiny: Bundle) -> Iterator[str]:
    with running(tiny) as found:
        wait_for(lambda: ready(found))
        yield found


@pytest.mark.parametrize(
    ("stage", "owner", "name"),
    [
        ("decode", engine, "decode"),
        ("refine", inference, "advance"),
        ("encode", InstancePrediction, "finish"),
        ("encode", engine, "encode"),
    ],
    ids=["decode", "refine", "finish", "encode"],
)
def test_a_departure_is_counted_in_its_stage(
    url: str, monkeypatch: pytest.MonkeyPatch, stage: str, owner: Any, name: str
) -> None:
    held, before = Held(getattr(owner, name)), cancelled(url)
    after = before | {stage: before.get(stage, 0) + 1}
    monkeypatch.setattr(owner, name, held)
    with beginning(url, len(COFFEE), "?score=0.05&resolution=28&max_instances=2") as connection:
        connection.sendall(COFFEE)
        wait_for(lambda: held.begun)
    wait_for(lambda: cancelled(url) != before)
    held.gate.set()
    monkeypatch.undo()
    assert post(url, COFFEE).status_code == 200
    assert cancelled(url) == after


def test_no_further_mask_is_encoded_for_a_client_that_left(
    discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(instances.entry)
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        monkeypatch.setattr(instances, "entry", held)
        image, boxes = encoded(picture()), "[" + ",".join(["[0,0,50,50]"] * 20) + "]"
        with beginning(url, len(image), f"?boxes={boxes}") as connection:
            connection.sendall(image)
            wait_for(lambda: held.begun)
        wait_for(lambda: cancelled(url) == {"encode": 1})
        held.gate.set()
        answered = post(url, image).json()
    assert held.begun == 1 + len(answered["instances"])


def test_a_departure_while_sending_is_counted_as_such(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        with beginning(url, 5000) as connection:
            connection.sendall(b"x")
        wait_for(lambda: cancelled(url) == {"body": 1})


def test_decodes_for_clients_that_left_delay_no_other(discs: Discs, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are spare threads."""
    held = Held(engine.decode)
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        with monkeypatch.context() as patch:
            patch.setattr(engine, "decode", held)
            for already in range(SPARE_DECODERS):
                with beginning(url, len(image := encoded(picture()))) as connection:
                    connection.sendall(image)
                    wait_for(lambda n=already: held.begun > n)
            wait_for(lambda: cancelled(url) == {"decode": SPARE_DECODERS})
        assert [post(url, encoded(picture())).status_code for _ in range(3)] == [200] * 3
        held.gate.set()


def test_without_a_thread_to_decode_requests_are_refused(
    discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(engine.decode)
    with TestClient(create_app(settings(), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        (model,) = client.app.state.service.engines.values()  # type: ignore[attr-defined]
        impatient = replace(model._config, decode_seconds=0.05)

        def ask() -> httpx.Response:
            return client.post("/segment", content=encoded(picture()), headers=PNG)

        with monkeypatch.context() as patch:
            patch.setattr(engine, "decode", held)
            patch.setattr(model, "_config", impatient)
            for _ in range(2 + SPARE_DECODERS):
                assert ask().json()["type"] == "/problems/slow-image"
            for _ in range(2):
                refused = ask()
                assert (refused.status_code, refused.json()["type"]) == (503, "/problems/no-decoder")
                assert refused.headers["retry-after"] == "5"
                assert "for 0.05 s" in refused.json()["detail"]
        assert 'pointrend_rejected_total{problem="no-decoder"} 2.0' in client.get("/metrics").text
        held.gate.set()
        assert ask().is_success


def test_departures_are_counted_where_they_happen(discs: Discs) -> None:
    """While the first is on the device and the second waits for it; nothing is answered before both are counted."""
    image = encoded(picture())
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        discs.gate.clear()
        with ExitStack() as connections:
            for stage in ("coarse", "queue"):
                connection = connections.enter_context(beginning(url, len(image)))
                connection.sendall(image)
                wait_for(lambda where=stage: waiting(url, where) == 1)
        wait_for(lambda: cancelled(url) == {"coarse": 1, "queue": 1})
        discs.gate.set()
        assert post(url, image).status_code == 200
        assert cancelled(url) == {"coarse": 1, "queue": 1}
