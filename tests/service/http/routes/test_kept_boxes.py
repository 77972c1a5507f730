"""POST /segment?kept=…: boxes of kept pictures, segmented without the picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from model.predict.instance import InstancePredictor
from service.app import create_app
from service.http.schemas.answers import SegmentAnswer
from tests.service.http.routes.test_render import FEW, KEEP, ask, gauge, grey, whole
from tests.service.http.routes.test_segment import COFFEE, PNG, post
from tests.service.http.test_problems import check
from tests.service.support import settings, wait_for

BOXES = "[[20,30,200,210],[100.5,50,350,300],[5,5,60,90]]"
ASKED = {"boxes": BOXES, "resolution": 56}
BOX_PASSES = "pointrend_box_pass_seconds_count"
COARSE_PASSES = "pointrend_batch_images_count"


@pytest.fixture(scope="module")
def kept(tiny_client: TestClient) -> str:
    return str(post(tiny_client, COFFEE, **KEEP)["kept"])


def again(client: TestClient, kept: str, **params: Any) -> Any:
    headers = params.pop("headers", {})
    return client.post("/segment", params={"kept": kept, **ASKED, **params}, headers=headers)


def masks(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The instances of an answer, with scores up to rounding."""
    return [{**each, "score": pytest.approx(each["score"], abs=1e-5)} for each in answer["instances"]]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resolution": "native"},
        {"resolution": 28, "points": 100},
        {"format": "polygon"},
        {"format": "rle_list"},
    ],
)
def test_the_answer_is_that_for_the_picture(
    tiny_client: TestClient, kept: str, changes: dict[str, Any]
) -> None:
    expected = post(tiny_client, COFFEE, **ASKED | changes)
    before = [gauge(tiny_client, name) for name in (COARSE_PASSES, BOX_PASSES)]
    answer = again(tiny_client, kept, **changes)
    assert answer.is_success, answer.text
    found = answer.json()
    assert [gauge(tiny_client, name) for name in (COARSE_PASSES, BOX_PASSES)] == [before[0], before[1] + 1]
    assert found["instances"] == masks(expected) and len(found["instances"]) == 3
    same = ("model", "width", "height", "degraded")
    assert [found[name] for name in same] == [expected[name] for name in same]
    assert set(found) == set(expected) and "server-timing" in answer.headers
    if not changes:
        SegmentAnswer.model_validate(found)


def test_a_class_may_be_named(tiny_client: TestClient, kept: str) -> None:
    names = [each["name"] for each in tiny_client.get("/models").json()[0]["categories"]]
    boxes = json.dumps([[20, 30, 200, 210, names[1]], [20, 30, 200, 210, names[2]]])
    found = again(tiny_client, kept, boxes=boxes).json()
    assert [each["category"] for each in found["instances"]] == names[1:3]
    assert found["instances"] == masks(post(tiny_client, COFFEE, **ASKED | {"boxes": boxes}))


def test_masks_can_be_explained(tiny_client: TestClient, kept: str) -> None:
    found = again(tiny_client, kept, explain=True).json()["instances"]
    expected = post(tiny_client, COFFEE, **ASKED, explain=True)["instances"]
    for own, other in zip(found, expected, strict=True):
        assert [level["side"] for level in own["explain"]["levels"]] == [28, 56]
        assert own["explain"]["coarse"]["probabilities"] == pytest.approx(
            other["explain"]["coarse"]["probabilities"], abs=1e-3
        )


def test_levels_are_streamed(tiny_client: TestClient, kept: str) -> None:
    answer = again(tiny_client, kept, headers={"accept": "application/x-ndjson"}, resolution=224)
    *_, done = map(json.loads, answer.text.splitlines())
    assert done["event"] == "done"
    assert done["instances"] == masks(post(tiny_client, COFFEE, **ASKED | {"resolution": 224}))


def test_lists_have_all_boxes(tiny_client: TestClient, kept: str) -> None:
    found = again(tiny_client, kept, format="coco", image_id=7).json()
    assert [each["image_id"] for each in found] == [7, 7, 7]


def test_no_boxes_are_no_masks(tiny_client: TestClient, kept: str) -> None:
    assert again(tiny_client, kept, boxes="[]").json()["instances"] == []


def test_masks_of_boxes_can_be_kept_and_zoomed(tiny_client: TestClient, kept: str) -> None:
    answer = again(tiny_client, kept, keep=60)
    found = answer.json()
    assert found["kept"] == answer.headers["x-kept-id"] != kept
    assert grey(ask(tiny_client, found, instance=1, window=whole(found, 1))).any()
    assert again(tiny_client, found["kept"]).json()["instances"] == masks(found)


def test_a_picture_in_which_nothing_was_found_has_boxes(tiny_client: TestClient) -> None:
    nothing = post(tiny_client, COFFEE, score=1, keep=60)
    assert nothing["instances"] == []
    found = again(tiny_client, nothing["kept"]).json()
    assert found["instances"] == masks(post(tiny_client, COFFEE, **ASKED))


@pytest.mark.parametrize(
    ("changes", "parameter", "why"),
    [
        ({"boxes": None}, "boxes", "are needed with `kept`"),
        ({"boxes": "[[0,0,1]]"}, "boxes", "box 1 must be"),
        ({"boxes": "[[5000,5000,6000,6000]]"}, "boxes", "is not within the"),
        ({"boxes": '[[0,0,9,9,"unicorn"]]'}, "boxes", "there is no class"),
        ({"format": "cutout"}, "format", "are not kept: send the picture"),
        ({"model": "other"}, "model", "the picture is kept for 'tiny'"),
        ({"keep": 86_000}, "keep", "at most 300 s"),
        ({"resolution": 29}, "resolution", "must be native or one of"),
        ({"kept": "x" * 65}, "kept", "at most 64 characters"),
    ],
)
def test_what_is_not_allowed_is_said(
    tiny_client: TestClient, kept: str, changes: dict[str, Any], parameter: str, why: str
) -> None:
    params = {name: value for name, value in {**ASKED, "kept": kept, **changes}.items() if value is not None}
    refused = tiny_client.post("/segment", params=params)
    check(refused, 422, "invalid-parameter")
    (error,) = refused.json()["errors"]
    assert error["parameter"] == parameter and why in refused.json()["detail"]


def test_a_body_is_refused(tiny_client: TestClient, kept: str) -> None:
    for sent in ({"content": COFFEE, "headers": PNG}, {"files": {"image": COFFEE}}):
        refused = tiny_client.post("/segment", params={"kept": kept, **ASKED}, **cast("Any", sent))
        check(refused, 422, "invalid-parameter")
        assert "send no body" in refused.json()["detail"]
    member = tiny_client.post("/segment", json={"image": "aaaa", "kept": kept})
    check(member, 422, "invalid-parameter")
    assert "belongs into the query" in member.json()["detail"]
    field = tiny_client.post("/segment", files={"image": COFFEE}, data={"kept": kept})
    check(field, 400, "bad-request")


def test_an_unknown_picture_is_to_be_sent_again(tiny_client: TestClient) -> None:
    check(again(tiny_client, "unknown"), 404, "not-kept")


def test_a_picture_belongs_to_its_key(tiny: Bundle) -> None:
    with TestClient(create_app(settings(api_keys="mine,yours"), [tiny])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        headers = PNG | {"x-api-key": "mine"}
        id = client.post("/segment", content=COFFEE, headers=headers, params=KEEP).json()["kept"]
        assert again(client, id, headers={"x-api-key": "mine"}).is_success
        check(again(client, id, headers={"x-api-key": "yours"}), 404, "not-kept")
        # Whoever may not see it learns nothing of its model.
        check(again(client, id, model="other", headers={"x-api-key": "yours"}), 404, "not-kept")
        check(again(client, id), 401, "unauthorized")


def serving(bundle: Bundle, **changes: Any) -> Iterator[TestClient]:
    with TestClient(create_app(settings(**changes), [bundle])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        yield client


def test_a_bundle_of_an_older_schema_keeps_pictures_for_windows(tiny: Bundle) -> None:
    predictor = dataclasses.replace(cast("InstancePredictor", tiny.predictor), box_runs=None)
    for client in serving(dataclasses.replace(tiny, predictor=predictor)):
        card = client.get("/models").json()[0]
        assert card["keeps"] is True and card["segments_kept"] is False
        found = post(client, COFFEE, **KEEP)
        assert grey(ask(client, found)).any()
        refused = again(client, found["kept"])
        check(refused, 422, "invalid-parameter")
        assert "exported again" in refused.json()["detail"]


def test_where_features_have_no_room_windows_are_kept(tiny: Bundle) -> None:
    for client in serving(tiny):
        assert client.get("/models").json()[0]["segments_kept"] is True
        post(client, COFFEE, **KEEP)
        everything = gauge(client, 'pointrend_budget_used_bytes{budget="keep"}')
    for client in serving(tiny, keep_bytes=int(everything) - 1):
        found = post(client, COFFEE, **KEEP)
        assert 0 < gauge(client, 'pointrend_budget_used_bytes{budget="keep"}') < everything
        assert grey(ask(client, found)).any()
        refused = again(client, found["kept"])
        check(refused, 404, "not-kept")
        assert "for windows of its masks alone" in refused.json()["detail"]


def test_work_is_bounded_as_for_pictures(tiny: Bundle) -> None:
    for client in serving(tiny, max_points=20_000):
        kept = post(client, COFFEE, score=1, keep=60, max_instances=1, resolution=28)["kept"]
        refused = again(client, kept, resolution=896)
        check(refused, 422, "invalid-parameter")
        assert refused.json()["errors"][0]["parameter"] == "points"


def test_every_box_counts_in_the_budget_of_maps(tiny: Bundle) -> None:
    app = create_app(settings(), [tiny])
    with TestClient(app) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        kept = post(client, COFFEE, **KEEP)["kept"]
        boxes = json.dumps([[i, 0, i + 50, 60] for i in range(200)])
        assert len(again(client, kept, boxes=boxes, resolution=28).json()["instances"]) == 200
        assert app.state.service.resources.render_memory.held == 0


def test_other_formats_of_a_kept_picture_are_those_of_few(tiny_client: TestClient, kept: str) -> None:
    plain = tiny_client.post(
        "/segment", content=COFFEE, headers=PNG, params={**FEW, **ASKED, "format": "geojson"}
    )
    found = again(tiny_client, kept, format="geojson", score=0.05, max_instances=2).json()
    shapes = [[each["geometry"] for each in answer["features"]] for answer in (found, plain.json())]
    assert shapes[0] == shapes[1]
