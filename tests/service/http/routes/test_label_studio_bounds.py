"""What requests of Label Studio may take, and that what fails inside of them is seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from model.config.categories import Category
from service.http.health import FAILURES
from service.http.label_studio import config
from service.http.routes import label_studio
from service.http.service import Service
from tests.service import support
from tests.service.http.label_studio.studio import CONFIG, Studio, body, hosting, rectangle
from tests.service.http.routes.test_label_studio import FILE, IMAGE, PREDICT, backend
from tests.service.http.test_problems import check
from tests.service.support import POISON, Discs, encoded, picture, wait_for


@pytest.fixture
def studio() -> Iterator[Studio]:
    with hosting() as found:
        found.files[FILE] = IMAGE
        yield found


def service_of(client: TestClient) -> Service:
    app = client.app
    assert isinstance(app, FastAPI)
    service: Service = app.state.service
    return service


@contextmanager
def working(client: TestClient, discs: Discs, sent: Any) -> Iterator[Future[Any]]:
    """The answer to a request for predictions, which the device works on until the end of the context."""
    discs.gate.clear()
    before = len(discs.batches)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, PREDICT, json=sent)
        try:
            wait_for(lambda: len(discs.batches) > before)
            yield answer
        finally:
            discs.gate.set()


def test_only_some_requests_are_worked_on_and_their_bytes_count(
    studio: Studio, discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_studio, "MAX_REQUESTS", 1)
    discs.gate.set()
    with backend(studio, discs) as client:
        bodies, sent = service_of(client).bodies, body(FILE)
        with working(client, discs, sent) as answer:
            assert bodies.held > len(IMAGE) + len(CONFIG)
            refused = client.post(PREDICT, content=b"{")
            check(refused, 429, "queue-full")
            assert refused.headers["retry-after"] == "5"
        assert answer.result().is_success
        assert bodies.held == 0
        assert client.post(PREDICT, json=sent).is_success


def test_nothing_is_read_while_the_queue_is_full(
    studio: Studio, discs: Discs, caplog: pytest.LogCaptureFixture
) -> None:
    discs.gate.set()
    with backend(studio, discs, queue_length=1) as client:
        with working(client, discs, body(FILE)):
            check(client.post(PREDICT, content=b"{"), 429, "queue-full")
            assert "the queue is full" in caplog.text  # Label Studio shows the status alone
        check(client.post(PREDICT, content=b"{"), 400, "malformed-json")


def test_predictions_count_as_bodies(studio: Studio) -> None:
    with backend(studio) as client:
        bodies, sent = service_of(client).bodies, client.build_request("POST", PREDICT, json=body(FILE))
        with bodies.reserve() as other:
            other.take(1)
            bodies.limit = 1 + len(sent.content) + len(IMAGE)
            check(client.send(sent), 429, "bodies-full")
            bodies.limit += 10_000
            assert client.send(sent).is_success
        assert bodies.held == 0


def test_a_picture_is_fetched_once_however_long_the_queue_is_full(studio: Studio) -> None:
    with backend(studio, queue_length=1) as client:
        results = client.post(PREDICT, json=body(FILE, FILE, FILE)).json()["results"]
        assert [len(each["result"]) for each in results] == [2, 2, 2]
        assert len(studio.asked) == 3


def test_a_service_whose_tasks_all_fail_is_unhealthy(studio: Studio) -> None:
    studio.files["/poison.png"] = encoded(picture(brightness=0) + np.array(POISON, np.uint8))
    with backend(studio) as client:
        for _ in range(FAILURES):
            answer = client.post(PREDICT, json=body("/poison.png", FILE, "/nowhere"))
            assert answer.status_code == 200
            kinds = [each.get("problem") for each in answer.json()["results"]]
            assert kinds == ["internal-error", None, "not-fetched"]
        check(client.get("/readyz"), 503, "unhealthy", f"the last {FAILURES} requests failed")
        wait_for(lambda: client.get("/readyz").is_success)
        for _ in range(FAILURES):  # what a client got wrong is no failure of the service
            assert client.post(PREDICT, json=body("/nowhere", "/nowhere")).status_code == 200
        assert client.get("/readyz").is_success


def test_what_cannot_be_drawn(studio: Studio) -> None:
    with backend(studio) as client:

        def refused(*drawn: Any, said: str) -> None:
            check(client.post(PREDICT, json=body(FILE, drawn=list(drawn))), 422, "invalid-parameter", said)

        refused(rectangle(0, 0, 1, 1) | {"original_width": 10**400}, said="original_width")
        refused(rectangle(0, 0, 1, 1) | {"original_height": 1_000_001}, said="original_height")
        turned = rectangle(0, 0, 1, 1)
        turned["value"]["rotation"] = "inf"
        refused(turned, said="rotation")
        small = {"type": "rectanglelabels", "original_width": 1, "original_height": 1, "value": {}}
        refused(*[small] * 1001, said="at most 1000 items")
        assert studio.asked == []


def test_configurations_are_read_beside_the_event_loop(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be long, and nothing else is answered while the event loop works."""
    threads: list[str] = []

    def read_config(text: str) -> config.LabelConfig:
        threads.append(threading.current_thread().name)
        return config.read_config(text)

    monkeypatch.setattr(label_studio, "read_config", read_config)
    with backend(studio) as client:
        assert client.post(PREDICT, json=body(FILE)).is_success
        assert client.post("/label-studio/validate", json={"config": CONFIG}).is_success
    assert len(threads) == 2 and all(name.startswith("pool") for name in threads), threads


def test_names_of_categories_may_have_commas(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "CATEGORIES", (Category(1, "disc, large"), Category(7, "ring")))
    labels = CONFIG.replace('"Disc"', '"Disc, large"').replace('<Label value=" RING "/>', "")
    with backend(studio) as client:
        (prediction,) = client.post(PREDICT, json=body(FILE, config=labels)).json()["results"]
        assert [each["value"]["brushlabels"] for each in prediction["result"]] == [["Disc, large"]]
