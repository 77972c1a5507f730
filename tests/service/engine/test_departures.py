"""Clients that leave, over real sockets: each is counted once, in the stage where it was, and delays no other."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import MethodType
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from export.bundle import Bundle
from model.predict.instance import InstancePrediction
from service.app import create_app
from service.decoding import threads
from service.decoding.errors import NoMemory, NoWorker
from service.decoding.job import Job
from service.decoding.threads import DecodeThreads
from service.engine import encoding
from service.engine.device import inference
from service.output import instances
from tests.service.engine.test_pressure import COFFEE, PNG
from tests.service.http.test_server import post, waiting
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
    with running(tiny, decoder=DecodeThreads(2)) as found:
        yield found


@pytest.mark.parametrize(
    ("stage", "owner", "name"),
    [
        ("decode", threads, "decode_resized"),
        ("refine", inference, "advance"),
        ("encode", InstancePrediction, "finish"),
        ("encode", encoding, "encode"),
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
    held = Held(instances._entry)
    with running(disc_bundle(discs)) as url:
        monkeypatch.setattr(instances, "_entry", held)
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
        with beginning(url, 5000) as connection:
            connection.sendall(b"x")
        wait_for(lambda: cancelled(url) == {"body": 1})


class NoDecoders:
    """Decodes no image for this reason."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def start(self) -> None: ...

    async def decode(self, job: Job) -> NDArray[np.uint8]:
        raise self._error

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "kind"), [(NoWorker("none"), "no-decoder"), (NoMemory("none"), "out-of-memory")]
)
def test_what_prevents_decoding_is_not_the_fault_of_the_image(
    discs: Discs, error: Exception, kind: str
) -> None:
    with TestClient(create_app(settings(), [disc_bundle(discs)], decoder=DecodeThreads(1))) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        service = client.app.state.service  # type: ignore[attr-defined]
        (model,) = service.engines.values()
        model._resources = replace(model._resources, decoder=NoDecoders(error))
        refused = client.post("/segment", content=encoded(picture()), headers=PNG)
        assert (refused.status_code, refused.json()["type"]) == (503, f"/problems/{kind}")
        assert refused.headers["retry-after"] == "5"
        assert f'pointrend_rejected_total{{problem="{kind}"}} 1.0' in client.get("/metrics").text


def test_departures_are_counted_where_they_happen(discs: Discs) -> None:
    """While the first is on the device and the second waits for it; nothing is answered before both are counted."""
    image = encoded(picture())
    with running(disc_bundle(discs)) as url:
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
