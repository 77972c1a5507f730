"""Label maps in the making: requests share steps, large ones let others pass, late or crowded ones end early."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from model.pointrend import label_map as semantic_render
from model.pointrend.label_map import LabelMapRender, advance
from model.pointrend.point_head import PointHead
from model.predict.images import DecodedImage
from model.predict.label_map import LabelMapOptions, label_map
from service.app import create_app
from service.engine import tasks
from service.engine.tasks import Job, SemanticTask
from tests.model.pointrend.test_label_map import evaluations
from tests.service.support import settings, wait_for
from tests.service.test_label_map_service import PICTURE, labels_of, post, street


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return street()


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app(settings(), [bundle])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


def test_a_late_map_is_the_finest_finished_one(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = 1.5  # s

    def slow(renders: Sequence[LabelMapRender], head: PointHead) -> None:
        if renders[0].level >= 32:
            time.sleep(deadline + 0.1)
        advance(renders, head)

    monkeypatch.setattr(tasks, "advance_maps", slow)
    found = post(client, resolution=1000, deadline_ms=int(1000 * deadline), points=64).json()
    assert found["truncated"] and not found["degraded"] and found["resolution"] == 64
    assert labels_of(found).max() < 3


def test_maps_are_coarser_while_the_service_is_busy(bundle: Bundle) -> None:
    with TestClient(create_app(settings(degrade_at=0.0), [bundle])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        found = post(client, resolution=140).json()
        assert found["degraded"] and found["truncated"] and found["resolution"] == 32  # half the input's
        assert post(client, resolution=30).json()["degraded"] is False


def begun(bundle: Bundle, *options: LabelMapOptions) -> tuple[SemanticTask, list[Job]]:
    """Requests after their coarse pass."""
    task = SemanticTask(bundle)
    image = DecodedImage(PICTURE, "PNG")
    jobs = [task.read(image, each, 10**6) for each in options]
    task.begin(jobs)
    return task, jobs


def test_requests_share_calls_of_the_point_head(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (LabelMapOptions(points=20), LabelMapOptions(140, points=30), LabelMapOptions(35, points=40))
    calls = evaluations(monkeypatch)
    task, jobs = begun(bundle, *options)
    while pending := [job.rendering for job in jobs if not job.rendering.done]:
        task.advance(pending)
    assert calls == [90, 90, 50, 30]
    for job, asked in zip(jobs, options, strict=True):
        alone = label_map(bundle.predictor(PICTURE, asked), 70, 100)
        assert (task.finish(job).labels(70, 100) == alone).mean() > 0.999


def test_a_large_map_lets_others_pass(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic_render, "BAND", 3000)
    steps: list[int] = []

    def counted(renders: Sequence[LabelMapRender], head: PointHead) -> None:
        steps.append(max(r.side for r in renders))
        advance(renders, head)

    monkeypatch.setattr(tasks, "advance_maps", counted)
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(post, client, resolution=1000, points=100)
        wait_for(lambda: 1000 in steps)
        assert post(client).is_success
        assert not large.done()
        assert large.result().is_success
    assert steps.count(1000) > 500
