"""Label maps in the making: large ones let others pass, late or crowded ones end early."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from model.pointrend import label_map_pyramid
from model.pointrend.point_head import PointHead
from model.pointrend.render import Render, advance
from service.app import create_app
from service.engine.device import inference
from service.engine.device.inference import Inference
from service.engine.queue.cost import CostModel, RequestWork
from service.engine.request import Request
from tests.service.label_maps import labels_of, post
from tests.service.support import PATIENCE, settings, wait_for


@pytest.fixture(scope="module")
def client(label_maps: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app(settings(queue_seconds=1e9), [label_maps])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


def test_a_late_map_is_the_finest_finished_one(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Request] = []
    begin = Inference.begin

    def recorded(self: Inference, requests: Sequence[Request]) -> Any:
        begun.extend(requests)
        return begin(self, requests)

    def late(renders: Sequence[Render], head: PointHead, group_points: int) -> None:
        advance(renders, head, group_points)
        if renders[0].level >= 64:
            begun[0].deadline_seconds = 0.0  # the deadline comes now

    monkeypatch.setattr(Inference, "begin", recorded)
    monkeypatch.setattr(inference, "advance", late)
    found = post(client, resolution=1000, deadline_ms=3_600_000, points=64).json()
    assert found["truncated"] and not found["degraded"] and found["resolution"] == 64
    assert labels_of(found).max() < 3


def test_maps_are_coarser_while_the_service_is_busy(label_maps: Bundle) -> None:
    with TestClient(create_app(settings(degrade_at=0.0), [label_maps])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        found = post(client, resolution=140).json()
        assert found["degraded"] and found["truncated"] and found["resolution"] == 32  # half the input's
        assert post(client, resolution=30).json()["degraded"] is False


def test_a_large_map_lets_others_pass(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_map_pyramid, "BAND", 3000)
    steps: list[set[int]] = []  # the heights that are rendered
    small_waits = threading.Event()

    def counted(renders: Sequence[Render], head: PointHead, group_points: int) -> None:
        steps.append({render.target for render in renders})
        if len(steps) == 1:
            assert small_waits.wait(PATIENCE)
        advance(renders, head, group_points)

    def cost(self: CostModel, work: RequestWork) -> float:
        return 100 * work.points

    monkeypatch.setattr(inference, "advance", counted)
    monkeypatch.setattr(CostModel, "total", cost)
    (engine,) = client.app.state.service.engines.values()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        large = pool.submit(post, client, resolution=1000, points=100)
        wait_for(lambda: steps)
        small = pool.submit(post, client)
        wait_for(lambda: engine.depth["queue"] == 1)
        small_waits.set()
        assert small.result().is_success and large.result().is_success
    assert sum(1000 in step for step in steps) > 500
    assert not any(70 in step for step in steps[100:])
