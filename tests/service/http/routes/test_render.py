"""POST /render: windows of the masks of kept pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from export.bundle import Bundle
from model.masks import rle
from service.app import create_app
from service.http.schemas.window import WindowAnswer
from tests.service.http.routes.test_segment import COFFEE, PNG, post
from tests.service.http.test_problems import check
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for

FEW = {"score": 0.05, "max_instances": 2, "resolution": 112}
KEEP = FEW | {"keep": 60}
VIEW = {"instance": 0, "width": 60, "height": 40}


def whole(found: dict[str, Any], instance: int = 0) -> str:
    """The box of an instance as a window."""
    x, y, w, h = found["instances"][instance]["bbox"]
    return ",".join(map(repr, (x, y, x + w, y + h)))


def ask(client: TestClient, found: dict[str, Any], **changes: Any) -> Any:
    window = changes["window"] if "window" in changes else whole(found)
    params = {"id": found["kept"], **VIEW, **changes, "window": window}
    return client.post("/render", params={k: v for k, v in params.items() if v is not None})


def grey(answer: Any) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.array(Image.open(io.BytesIO(answer.content)))


def gauge(client: TestClient, line: str) -> float:
    text = client.get("/metrics").text
    return next((float(each.split()[-1]) for each in text.splitlines() if each.startswith(line)), 0.0)


@pytest.fixture(scope="module")
def kept(tiny_client: TestClient) -> dict[str, Any]:
    return post(tiny_client, COFFEE, **KEEP)


def test_an_answer_says_that_its_picture_is_kept(tiny_client: TestClient) -> None:
    answer = tiny_client.post("/segment", content=COFFEE, headers=PNG, params=KEEP)
    assert answer.headers["x-kept-id"] == answer.json()["kept"]
    plain = tiny_client.post("/segment", content=COFFEE, headers=PNG, params=FEW)
    assert "kept" not in plain.json() and "x-kept-id" not in plain.headers
    assert plain.json()["instances"] == answer.json()["instances"]


def test_formats_without_an_envelope_have_the_header(tiny_client: TestClient) -> None:
    answer = tiny_client.post("/segment", content=COFFEE, headers=PNG, params=KEEP | {"format": "coco"})
    found = post(tiny_client, COFFEE, **FEW)
    found |= {"kept": answer.headers["x-kept-id"]}
    assert grey(ask(tiny_client, found)).any()


def test_the_last_line_of_a_stream_says_it(tiny_client: TestClient) -> None:
    headers = PNG | {"accept": "application/x-ndjson"}
    answer = tiny_client.post("/segment", content=COFFEE, headers=headers, params=KEEP)
    *levels, done = map(json.loads, answer.text.splitlines())
    assert all("kept" not in level for level in levels)
    assert grey(ask(tiny_client, done)).any()


def test_a_window_is_a_picture_of_its_probabilities(tiny_client: TestClient, kept: dict[str, Any]) -> None:
    before = gauge(tiny_client, "pointrend_batch_images_count")
    found = grey(ask(tiny_client, kept))
    assert found.shape == (40, 60) and found.dtype == np.uint8
    assert gauge(tiny_client, "pointrend_batch_images_count") == before  # no network ran
    every = grey(ask(tiny_client, kept, points=2400))
    assert ((found >= 128) != (every >= 128)).mean() < 0.02


def test_run_lengths_are_the_pictures_foreground(tiny_client: TestClient, kept: dict[str, Any]) -> None:
    answer = ask(tiny_client, kept, format="rle").json()
    WindowAnswer.model_validate(answer)
    mask = rle.decode(rle.decompress(answer["segmentation"]["counts"]), 60, 40)
    np.testing.assert_array_equal(mask, grey(ask(tiny_client, kept)) >= 128)
    first = kept["instances"][0]
    assert (answer["width"], answer["height"], answer["area"]) == (60, 40, mask.sum())
    assert (answer["category"], answer["score"]) == (first["category"], first["score"])
    assert answer["window"] == [float(each) for each in whole(kept).split(",")]
    assert answer["truncated"] is answer["degraded"] is False
    assert "server-timing" in ask(tiny_client, kept).headers


def test_every_instance_of_the_answer_can_be_rendered(tiny_client: TestClient, kept: dict[str, Any]) -> None:
    both = [grey(ask(tiny_client, kept, instance=i, window=whole(kept, i))) for i in (0, 1)]
    assert not np.array_equal(*both)
    refused = ask(tiny_client, kept, instance=2)
    check(refused, 422, "invalid-parameter")
    assert "has no instance 2; they are 0 to 1" in refused.json()["detail"]


def test_a_picture_without_instances(tiny_client: TestClient) -> None:
    nothing = post(tiny_client, COFFEE, score=1, keep=60)
    assert nothing["instances"] == []
    refused = ask(tiny_client, nothing, window="0,0,10,10")
    check(refused, 422, "invalid-parameter")
    assert "none was found" in refused.json()["detail"]


def test_a_window_beside_the_box_is_empty(tiny_client: TestClient, kept: dict[str, Any]) -> None:
    x, y, w, h = kept["instances"][0]["bbox"]
    corner = f"0,0,{x},{y}" if min(x, y) > 1 else f"{x + w},{y + h},{kept['width']},{kept['height']}"
    assert not grey(ask(tiny_client, kept, window=corner)).any()


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"window": "nan,0,1,1"}, "window"),
        ({"window": "0,0,nan,nan"}, "window"),
        ({"window": "0,0,inf,1"}, "window"),
        ({"window": "0,0,1e39,1"}, "window"),
        ({"window": "-1,0,5,5"}, "window"),
        ({"window": "5,5,5,9"}, "window"),
        ({"window": "9,9,5,5"}, "window"),
        ({"window": "5,5,5.001,9"}, "window"),
        ({"window": "1,2,3"}, "window"),
        ({"window": "1,2,3,4,5"}, "window"),
        ({"window": "[1,2,3,4]"}, "window"),
        ({"window": "," * 5000}, "window"),
        ({"window": ""}, "window"),
        ({"window": "1_0,0,20,20"}, "window"),
        ({"window": None}, "window"),
        ({"width": 0}, "width"),
        ({"width": 2049}, "width"),
        ({"height": -3}, "height"),
        ({"height": "1e3"}, "height"),
        ({"width": None}, "width"),
        ({"instance": -1}, "instance"),
        ({"instance": None}, "instance"),
        ({"instance": "first"}, "instance"),
        ({"points": 0}, "points"),
        ({"format": "polygon"}, "format"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"id": "x" * 65}, "id"),
        ({"resolution": 28}, "resolution"),
    ],
)
def test_what_is_not_allowed_is_said(
    tiny_client: TestClient, kept: dict[str, Any], changes: dict[str, Any], parameter: str
) -> None:
    refused = ask(tiny_client, kept, **changes)
    check(refused, 422, "invalid-parameter")
    (error,) = refused.json()["errors"]
    assert error["parameter"] == parameter
    assert len(refused.text) < 1000


def test_an_unknown_parameter_is_told_which_there_are(tiny_client: TestClient, kept: dict[str, Any]) -> None:
    told = ask(tiny_client, kept, zoom=3).json()["detail"]
    assert told == (
        "zoom: there is no such parameter; allowed: id, instance, window, width, height, points, deadline_ms, format"
    )
    told = tiny_client.post("/render", params={"id": "x"}).json()["detail"]
    assert told.startswith("window: is needed, in the query; width: is needed")
    assert "allowed: model, " in tiny_client.post("/segment", params={"zoom": 3}).json()["detail"]


def test_work_is_bounded(tiny: Bundle) -> None:
    with TestClient(create_app(settings(max_points=60_000), [tiny])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        kept = post(client, COFFEE, **KEEP)
        assert ask(client, kept, width=2048, height=2048).is_success
        refused = ask(client, kept, width=1000, height=1000, points=30_000)
    check(refused, 422, "invalid-parameter")
    assert refused.json()["errors"][0]["parameter"] == "points"


def test_an_unknown_picture_is_to_be_sent_again(tiny_client: TestClient, kept: dict[str, Any]) -> None:
    misses = gauge(tiny_client, 'pointrend_kept_lookups_total{result="miss"}')
    refused = ask(tiny_client, kept | {"kept": "unknown"})
    check(refused, 404, "not-kept")
    assert "send it again to /segment with `keep`" in refused.json()["detail"]
    assert gauge(tiny_client, 'pointrend_kept_lookups_total{result="miss"}') == misses + 1


def test_a_picture_belongs_to_its_key(tiny: Bundle) -> None:
    with TestClient(create_app(settings(api_keys="mine,yours"), [tiny])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        mine, yours = {"x-api-key": "mine"}, {"x-api-key": "yours"}
        found = client.post("/segment", content=COFFEE, headers=PNG | mine, params=KEEP).json()
        params = {"id": found["kept"], "window": whole(found), **VIEW}
        assert client.post("/render", params=params, headers={"authorization": "Bearer mine"}).is_success
        stranger = client.post("/render", params=params, headers=yours)
        unknown = client.post("/render", params=params | {"id": "x"}, headers=yours)
        check(stranger, 404, "not-kept")
        assert stranger.json()["detail"] == unknown.json()["detail"]
        check(client.post("/render", params=params), 401, "unauthorized")
        check(client.post("/render"), 401, "unauthorized")


def test_two_models_share_the_cache(tiny: Bundle, discs: Discs, label_maps: Bundle) -> None:
    with TestClient(create_app(settings(), [disc_bundle(discs), tiny, label_maps])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        keeps = {card["name"]: card["keeps"] for card in client.get("/models").json()}
        assert keeps == {"discs": False, "tiny": True, label_maps.manifest.name: True}
        found = post(client, COFFEE, **KEEP, model="tiny")
        assert ask(client, found).is_success
        assert client.post("/render", params={"id": found["kept"], "window": whole(found), **VIEW}).is_success
        refused = client.post("/segment", content=COFFEE, headers=PNG, params={"keep": 5, "model": "discs"})
        check(refused, 422, "invalid-parameter")
        assert refused.json()["errors"][0]["parameter"] == "keep"


@pytest.fixture
def small(tiny: Bundle) -> Iterator[TestClient]:
    """A service that keeps pictures, but not these."""
    with TestClient(create_app(settings(keep_bytes=20_000, keep_seconds=10), [tiny])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


def test_without_room_there_is_an_answer_all_the_same(small: TestClient) -> None:
    answer = small.post("/segment", content=COFFEE, headers=PNG, params=FEW | {"keep": 10})
    assert answer.is_success and answer.json()["kept"] is None and "x-kept-id" not in answer.headers
    limits = small.get("/models").json()[0]["limits"]
    assert (limits["keep_bytes"], limits["keep_seconds"], limits["max_window_side"]) == (20_000, 10, 2048)


@pytest.mark.parametrize("value", [11, -1, "long", 86_401])
def test_the_time_is_bounded(small: TestClient, value: object) -> None:
    refused = small.post("/segment", content=b"", headers=PNG, params={"keep": value})
    check(refused, 422, "invalid-parameter")
    assert refused.json()["errors"][0]["parameter"] == "keep"


def test_nothing_is_kept_if_it_is_switched_off(tiny: Bundle) -> None:
    with TestClient(create_app(settings(keep_bytes=0), [tiny])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        refused = client.post("/segment", content=COFFEE, headers=PNG, params=KEEP)
        check(refused, 422, "invalid-parameter")
        assert "this service keeps no pictures" in refused.json()["detail"]
        card = client.get("/models").json()[0]
        assert card["keeps"] is False and card["limits"]["keep_bytes"] == 0


def test_memory_and_lookups_are_shown_and_end_with_the_service(tiny: Bundle) -> None:
    app = create_app(settings(), [tiny])
    with TestClient(app) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        found = post(client, COFFEE, **KEEP)
        assert gauge(client, "pointrend_kept_pictures") == 1
        assert gauge(client, 'pointrend_budget_bytes{budget="keep"}') == 100_000_000
        assert gauge(client, 'pointrend_budget_used_bytes{budget="keep"}') > 10_000
        assert ask(client, found).is_success
        assert gauge(client, 'pointrend_kept_lookups_total{result="hit"}') == 1
        kept = app.state.service.resources.kept
    assert (kept.count, kept.held) == (0, 0)


def test_keep_may_be_a_field_of_the_form(tiny_client: TestClient) -> None:
    data = {name: str(value) for name, value in KEEP.items()}
    answer = tiny_client.post("/segment", files={"image": COFFEE}, data=data)
    assert ask(tiny_client, answer.json()).is_success
    refused = tiny_client.post("/segment", files={"image": COFFEE}, data={"keep": "301"})
    check(refused, 422, "invalid-parameter")
    assert "at most 300 s are allowed" in refused.json()["detail"]


def test_a_failed_request_keeps_nothing(tiny: Bundle) -> None:
    app = create_app(settings(encode_bytes=40_000_000), [tiny])
    with TestClient(app) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        check(client.post("/segment", content=b"no image", headers=PNG, params=KEEP), 400, "not-an-image")
        blank = client.post("/segment", content=encoded(picture()), headers=PNG, params=KEEP)
        assert blank.is_success
        kept = app.state.service.resources.kept
        assert kept.count == 1
