"""Clients that leave, over real sockets: counted once, where they were, and without harm to those who stay."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from service.app import create_app
from service.engine import engine, tasks
from service.engine.workers import ABANDONED
from service.http import routes
from service.output import answer as answers
from tests.service.engine.test_pressure import COFFEE, PNG
from tests.service.http.test_server import post, ready
from tests.service.support import (
    Discs,
    beginning,
    disc_bundle,
    encoded,
    picture,
    running,
    settings,
    wait_for,
)


def cancelled(url: str) -> dict[str, float]:
    """Departures by stage."""
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r'^pointrend_cancelled_total{stage="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {stage: float(count) for stage, count in found}


class Held:
    """What it stands for begins and does not end before the gate opens."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.gate = threading.Event()
        self.begun = 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        self.begun += 1
        assert self.gate.wait(20)
        return self._call(*args, **more)


@pytest.mark.parametrize(
    ("stage", "module", "name"),
    [
        ("decode", engine, "decode"),
        ("refine", tasks, "advance"),
        ("encode", tasks, "finished"),
        ("encode", routes, "answer"),
    ],
    ids=["decode", "refine", "finish", "encode"],
)
def test_a_departure_is_counted_in_its_stage(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, stage: str, module: Any, name: str
) -> None:
    held = Held(getattr(module, name))
    with running(tiny) as url:
        wait_for(lambda: ready(url))
        monkeypatch.setattr(module, name, held)
        with beginning(url, len(COFFEE), "?score=0.05&resolution=28&max_instances=2") as connection:
            connection.sendall(COFFEE)
            wait_for(lambda: held.begun)
        wait_for(lambda: cancelled(url))
        held.gate.set()
        monkeypatch.undo()
        assert post(url, COFFEE).status_code == 200
        assert cancelled(url) == {stage: 1}


def test_no_further_mask_is_encoded_for_who_left(discs: Discs, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(answers._instance)
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        monkeypatch.setattr(answers, "_instance", held)
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


def test_decodes_of_those_who_left_hold_up_nobody(discs: Discs, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are spare threads."""
    held = Held(engine.decode)
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: ready(url))
        with monkeypatch.context() as patch:
            patch.setattr(engine, "decode", held)
            for already in range(ABANDONED):
                with beginning(url, len(image := encoded(picture()))) as connection:
                    connection.sendall(image)
                    wait_for(lambda n=already: held.begun > n)
            wait_for(lambda: cancelled(url) == {"decode": ABANDONED})
        assert [post(url, encoded(picture())).status_code for _ in range(3)] == [200] * 3
        held.gate.set()


def test_without_a_thread_to_decode_requests_are_refused(
    discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(engine.decode)
    with TestClient(create_app(settings(decode_seconds=0.1), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)

        def ask() -> httpx.Response:
            return client.post("/segment", content=encoded(picture()), headers=PNG)

        with monkeypatch.context() as patch:
            patch.setattr(engine, "decode", held)
            for _ in range(2 + ABANDONED):
                assert ask().json()["type"] == "/problems/slow-image"
        for _ in range(2):
            refused = ask()
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/no-decoder")
            assert refused.headers["retry-after"] == "5"
            assert "for 0.1 s" in refused.json()["detail"]
        assert 'pointrend_rejected_total{problem="no-decoder"} 2.0' in client.get("/metrics").text
        held.gate.set()
        wait_for(lambda: ask().is_success)
