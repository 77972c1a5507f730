"""A bundle with a detector behind the server: detections, given boxes, timings, metrics and /models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from export.bundle import open_bundle
from export.execution import Execution
from export.golden import DetectorGolden
from service.app import create_app
from tests.export.detector.bright import SCORES, spot
from tests.service.support import encoded, settings, wait_for

BOX = (30, 20, 90, 60)
PICTURE = encoded(spot(96, 128, BOX))


@pytest.fixture(scope="module")
def client(detecting: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings(), [open_bundle(detecting, Execution(threads=1))])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


def post(client: TestClient, image: bytes = PICTURE, **query: Any) -> dict[str, Any]:
    response = client.post("/segment", content=image, headers={"content-type": "image/png"}, params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_answers_have_the_detectors_boxes_classes_and_scores(client: TestClient) -> None:
    answer = post(client, score=0.1, resolution=56)
    assert [(each["category"], each["category_id"]) for each in answer["instances"]] == [
        ("dog", 18),
        ("cat", 17),
    ]
    assert [each["score"] for each in answer["instances"]] == pytest.approx(SCORES, abs=0.01)
    x, y, width, height = answer["instances"][0]["bbox"]
    assert (x, y, x + width, y + height) == pytest.approx(BOX, abs=2)
    assert all(each["resolution"] == 56 for each in answer["instances"])


def test_requests_choose_among_detections(client: TestClient) -> None:
    assert [each["category"] for each in post(client)["instances"]] == ["dog"]
    assert [each["category"] for each in post(client, score=0.1, classes="cat")["instances"]] == ["cat"]
    assert len(post(client, score=0.1, max_instances=1)["instances"]) == 1
    assert post(client, encoded(spot(96, 128, BOX, 0)), score=0)["instances"] == []


def test_given_boxes_take_the_place_of_detections(client: TestClient) -> None:
    answer = post(client, boxes=json.dumps([[5, 5, 60, 90], [5, 5, 60, 90, "cat"]]))
    assert [each["category"] for each in answer["instances"]] == ["object", "cat"]
    refused = client.post(
        "/segment",
        content=PICTURE,
        headers={"content-type": "image/png"},
        params={"boxes": '[[5, 5, 60, 90, "bird"]]'},
    )
    assert refused.status_code == 422 and "allowed: cat, dog, object" in refused.json()["detail"]


def test_timings_and_metrics_have_a_stage_of_the_detector(client: TestClient) -> None:
    answer = post(client)
    stages = ["decode", "queue", "detector", "coarse", "refine", "encode", "total"]
    assert list(answer["timings_ms"]) == stages
    times = answer["timings_ms"]
    assert times["detector"] > 0 and times["detector"] + times["coarse"] <= times["total"]
    text = client.get("/metrics").text
    (count,) = (
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("pointrend_stage_seconds_count") and 'stage="detector"' in line
    )
    assert count >= 1


def test_a_stream_ends_with_the_same_answer(client: TestClient) -> None:
    response = client.post(
        "/segment",
        content=PICTURE,
        headers={"content-type": "image/png", "accept": "application/x-ndjson"},
        params={"resolution": 112},
    )
    *levels, last = map(json.loads, response.text.splitlines())
    assert last["event"] == "done" and [each["category"] for each in last["instances"]] == ["dog"]
    assert all(each["category"] == "dog" for level in levels for each in level["instances"])
    assert "detector" in last["timings_ms"]


def test_models_tells_the_detector_and_its_classes(client: TestClient) -> None:
    (card,) = client.get("/models").json()
    assert card["detector"] == {"name": "bright", "licence": "MIT"} and card["licence"] == "Apache-2.0"
    assert [each["name"] for each in card["categories"]] == ["cat", "dog", "object"]
    assert (card["score_threshold"], card["max_detections"]) == (0.05, 100)
    full = client.get("/models/detecting").json()
    assert "detector's boxes" in full["parity"]["stages"]


def test_the_server_is_not_ready_if_its_detector_sees_something_else(detecting: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(detecting, tmp_path / "bundle")
    good = open_bundle(folder, Execution(threads=1))
    part: Any = good.manifest.detector
    golden: DetectorGolden = replace(part.golden, scores=tuple(s - 0.1 for s in part.golden.scores))
    model: Any = replace(good.manifest.model, detector=replace(part, golden=golden))
    wrong = replace(good, manifest=replace(good.manifest, model=model))
    with TestClient(create_app(settings(), [wrong])) as client:
        wait_for(lambda: "golden picture" in client.get("/readyz").text)
        assert "its detector does not find class 1" in client.get("/readyz").text
