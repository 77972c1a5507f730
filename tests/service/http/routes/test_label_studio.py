"""/label-studio, asked as Label Studio's server does. A host in the test hands out files and checks tokens."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model.errors import UserError
from model.masks import rle
from service.app import create_app
from service.http.body.limits import BodyBudget
from service.http.label_studio import tasks
from service.http.label_studio.access import StudioToken
from service.http.label_studio.files import StudioFiles
from service.http.problems import Problem
from tests.service.http.label_studio.studio import (
    CONFIG,
    LEGACY,
    Studio,
    body,
    hosting,
    personal,
    rectangle,
)
from tests.service.http.test_problems import check
from tests.service.output.tools.test_label_studio import decoded
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for

FILE = "/data/upload/1/a%20b.png"
IMAGE = encoded(picture())
PATHS = ("health", "versions", "setup", "validate", "predict", "webhook")
PREDICT = "/label-studio/predict"


@contextmanager
def backend(studio: Studio, discs: Discs | None = None, **changes: Any) -> Iterator[TestClient]:
    """A backend for this host, with the legacy token unless another one is named."""
    if discs is None:
        discs = Discs()
        discs.gate.set()
    chosen: dict[str, Any] = {"label_studio_url": studio.url, "max_body_bytes": 200_000} | changes
    if not chosen.keys() & {"label_studio_token", "label_studio_token_file"}:
        chosen["label_studio_token"] = LEGACY
    app = create_app(settings(**chosen), [disc_bundle(discs)])
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Studio, TestClient]]:
    with hosting() as studio, backend(studio) as client:
        yield studio, client


@pytest.fixture
def studio(shared: tuple[Studio, TestClient]) -> Studio:
    shared[0].files = {FILE: IMAGE, "/data/upload/1/black.png": encoded(picture(brightness=0))}
    shared[0].moved = {}
    shared[0].asked.clear()
    return shared[0]


@pytest.fixture
def client(shared: tuple[Studio, TestClient], studio: Studio) -> TestClient:
    return shared[1]


def masks(client: TestClient, query: str = "") -> dict[str, Any]:
    """The masks that /segment gives, by category."""
    answer = client.post(f"/segment?{query}", content=IMAGE, headers={"content-type": "image/png"}).json()
    return {
        each["category"]: rle.decode(rle.decompress(each["segmentation"]["counts"]), 120, 80)
        for each in answer["instances"]
    }


def bitmap(region: Any) -> Any:
    pixels = np.reshape(decoded(region["value"]["rle"]), (80, 120, 4))
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0] == 255


def test_without_settings_there_is_no_such_thing(client: TestClient, discs: Discs) -> None:
    assert {path for path in client.get("/openapi.json").json()["paths"] if "studio" in path} == {
        f"/label-studio/{each}" for each in PATHS
    }
    with TestClient(create_app(settings(), [disc_bundle(discs)])) as other:
        for path in PATHS:
            check(other.get(f"/label-studio/{path}"), 404, "not-found")
            check(other.post(f"/label-studio/{path}", json={}), 404, "not-found")
        assert not [path for path in other.get("/openapi.json").json()["paths"] if "studio" in path]


def test_a_project_is_connected(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/label-studio/health").json() == {"status": "UP", "model_class": "PointRend"}
    assert client.get("/label-studio/versions", params={"project": "1.17"}).json() == {"versions": ["discs"]}
    setup = {"project": "1.17", "schema": CONFIG, "hostname": "http://evil.example", "access_token": "x"}
    assert client.post("/label-studio/setup", json=setup).json() == {"model_version": "discs"}
    assert client.post("/label-studio/validate", json={"config": CONFIG}).json() == {"model_version": "discs"}
    wrong = CONFIG.replace("BrushLabels", "EllipseLabels")
    for path, member in (("setup", "schema"), ("validate", "config")):
        check(
            client.post(f"/label-studio/{path}", json={member: wrong}),
            422,
            "invalid-parameter",
            "no BrushLabels",
        )
        assert "no BrushLabels" in caplog.text  # Label Studio shows the status alone
        caplog.clear()
        check(client.post(f"/label-studio/{path}", json={}), 422, "invalid-parameter", member)
        check(client.post(f"/label-studio/{path}", content=b"{"), 400, "malformed-json")
    assert client.post("/label-studio/webhook", json={"action": "TASKS_CREATED"}).status_code == 204


def test_a_picture_has_a_brush_region_for_each_object(client: TestClient, studio: Studio) -> None:
    answer = client.post(PREDICT, json=body(FILE)).json()
    assert answer["model_version"] == "discs"
    (prediction,) = answer["results"]
    assert prediction["model_version"] == "discs" and prediction["score"] == pytest.approx(0.75)
    regions = prediction["result"]
    assert [each["value"]["brushlabels"] for each in regions] == [["Disc"], [" RING "]]
    expected = masks(client)
    for region, category in zip(regions, ("disc", "ring"), strict=True):
        assert (region["type"], region["from_name"], region["to_name"]) == ("brushlabels", "mask", "photo")
        assert (region["original_width"], region["original_height"]) == (120, 80)
        np.testing.assert_array_equal(bitmap(region), expected[category])
    assert regions[0]["id"] != regions[1]["id"]
    assert studio.asked == [(FILE, f"Token {LEGACY}")]


def test_categories_without_a_label_are_left_out(client: TestClient) -> None:
    config = CONFIG.replace('<Label value=" RING "/>', '<Label value="Sky"/>')
    (prediction,) = client.post(PREDICT, json=body(FILE, config=config)).json()["results"]
    assert [each["value"]["brushlabels"] for each in prediction["result"]] == [["Disc"]]


def test_polygons_are_within_a_pixel_of_the_outline(client: TestClient) -> None:
    shapely = pytest.importorskip("shapely")
    config = CONFIG.replace("BrushLabels", "PolygonLabels")
    (prediction,) = client.post(PREDICT, json=body(FILE, config=config)).json()["results"]
    disc, ring = prediction["result"]
    assert [each["value"]["polygonlabels"] for each in (disc, ring)] == [["Disc"], [" RING "]]
    exact = client.post(
        "/segment?format=polygon", content=IMAGE, headers={"content-type": "image/png"}
    ).json()
    for region, instance in zip((disc, ring), exact["instances"], strict=True):
        points = np.array(region["value"]["points"]) * (1.2, 0.8)
        (outline,) = (np.reshape(each, (-1, 2)) for each in instance["segmentation"])
        assert 3 <= len(points) < len(outline) / 2
        drawn = shapely.LinearRing(points)
        assert max(drawn.distance(shapely.Point(*corner)) for corner in outline) <= 1 + 1e-6
        assert {tuple(each) for each in np.rint(points).astype(int).tolist()} <= {
            tuple(each) for each in outline.tolist()
        }
        assert region["value"]["closed"] is True


@pytest.mark.parametrize(
    ("label", "box", "shown"),
    [
        ("disc", '[[12, 8, 72, 48, "disc"]]', "Disc"),
        ("Ring", '[[12, 8, 72, 48, "ring"]]', " RING "),
        ("Other", "[[12, 8, 72, 48]]", "Disc"),
        ("", "[[12, 8, 72, 48]]", "Disc"),
    ],
)
def test_a_drawn_rectangle_becomes_the_mask_in_it(
    client: TestClient, label: str, box: str, shown: str
) -> None:
    drawn = [rectangle(10, 10, 50, 50, label)]
    (prediction,) = client.post(PREDICT, json=body(FILE, drawn=drawn)).json()["results"]
    (region,) = prediction["result"]
    assert region["value"]["brushlabels"] == [shown]
    ((_, mask),) = masks(client, f"boxes={box}").items()
    assert mask.any()
    np.testing.assert_array_equal(bitmap(region), mask)


def test_labels_may_be_free_where_rectangles_are_drawn(client: TestClient) -> None:
    config = '<View><Image name="i" value="$picture"/><BrushLabels name="b" toName="i"><Label value="Cat"/>\
<Label value="Dog"/></BrushLabels><RectangleLabels name="r" toName="i"><Label value="Dog"/></RectangleLabels></View>'
    drawn = [rectangle(10, 10, 50, 50, "dog")]
    (prediction,) = client.post(PREDICT, json=body(FILE, config=config, drawn=drawn)).json()["results"]
    assert [each["value"]["brushlabels"] for each in prediction["result"]] == [["Dog"]]
    refused = client.post(PREDICT, json=body(FILE, config=config))
    check(refused, 422, "invalid-parameter", "none of its labels is a category")


def test_one_of_several_tasks_may_fail(client: TestClient, studio: Studio) -> None:
    studio.files["/data/text"] = b"no image"
    sent = body(FILE, "/data/nowhere", "/data/text", "/data/upload/1/black.png", "http://evil.example/a.png")
    sent["tasks"].append({"id": 9, "data": {"text": "no picture"}})
    answered = client.post(PREDICT, json=sent)
    assert answered.status_code == 200
    good, missing, text, empty, foreign, none = answered.json()["results"]
    assert len(good["result"]) == 2
    assert (missing["problem"], text["problem"]) == ("not-fetched", "not-an-image")
    assert "answers 404" in missing["error"]
    assert empty["result"] == [] and "score" not in empty
    assert (foreign["problem"], none["problem"]) == ("foreign-address", "invalid-parameter")
    assert not [each for each in (missing, text, foreign, none) if "result" in each]


def test_the_configuration_chooses_parameters_of_the_model(client: TestClient) -> None:
    def asked(attributes: str) -> Any:
        return client.post(
            PREDICT, json=body(FILE, config=CONFIG.replace('name="mask"', f'name="mask" {attributes}'))
        )

    (prediction,) = asked('model="discs" model_score_threshold="0.7"').json()["results"]
    assert len(prediction["result"]) == 1
    check(asked('model="cats"'), 422, "invalid-parameter", "no model 'cats'")
    check(asked('model_resolution="5"'), 422, "invalid-parameter", "resolution")
    check(asked('model_score_threshold="high"'), 422, "invalid-parameter", "score")


def test_what_is_no_request(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = body(FILE)
    check(client.post(PREDICT, json={**sent, "tasks": []}), 422, "invalid-parameter", "tasks")
    check(client.post(PREDICT, json={"tasks": sent["tasks"]}), 422, "invalid-parameter", "label_config")
    monkeypatch.setattr(tasks, "MAX_BRACKETS", 50)
    check(client.post(PREDICT, json=body(*[FILE] * 30)), 413, "too-many-bytes", "50 lists and objects")
    check(client.post(PREDICT, content=b"x" * 200_001), 413, "too-many-bytes")
    wrong = rectangle(0, 0, 1, 1) | {"original_width": 0}
    check(client.post(PREDICT, json=body(FILE, drawn=[wrong])), 422, "invalid-parameter", "original_width")


@pytest.mark.parametrize(
    "address",
    [
        "{other}/a.png",
        "//{host}/a.png",
        "http://{ours}@{host}/a.png",
        "http://u:p@{ours}/a.png",
        "https://{ours}/a.png",
        "s3://bucket/a.png",
        "data:image/png;base64,AA==",
        "file:///etc/hostname",
        "http://[::1",
        "/moved",
    ],
)
def test_no_other_host_is_asked(client: TestClient, studio: Studio, address: str) -> None:
    with hosting() as other:
        host, ours = (each.url.removeprefix("http://") for each in (other, studio))
        other.files["/a.png"] = IMAGE
        other.tokens = {"", f"Token {LEGACY}"}
        studio.moved["/moved"] = f"{other.url}/a.png"
        asked = address.format(other=other.url, host=host, ours=ours)
        check(
            client.post(PREDICT, json=body(asked)), 422, "foreign-address", f"fetched from {studio.url} only"
        )
        assert other.asked == []
        assert [path for path, _ in studio.asked] == (["/moved"] if address == "/moved" else [])


@pytest.mark.parametrize(
    "address",
    ["/other/a.png", "/studios/a.png", "/studio/../other/a.png", "/studio/%2e%2e/other/a.png", "/moved"],
)
def test_nothing_beside_label_studio_is_asked_on_its_host(address: str) -> None:
    with hosting() as studio:
        files = StudioFiles(f"{studio.url}/studio", StudioToken(lambda: LEGACY), 60, 200_000)
        studio.files["/studio/a.png"] = IMAGE
        studio.moved["/studio/moved"] = "/other/a.png"

        async def fetched(address: str) -> bytes:
            with BodyBudget(200_000).reserve() as body:
                return await files.fetch(address, body)

        async def both() -> bytes:
            try:
                with pytest.raises(Problem, match="pictures are fetched from"):
                    await fetched("/studio/moved" if address == "/moved" else address)
                return await fetched(f"{studio.url}/studio/a.png")
            finally:
                await files.close()

        assert asyncio.run(both()) == IMAGE
        assert not [path for path, _ in studio.asked if "other" in path or "studios" in path]


def test_redirects_within_the_host_are_followed_but_not_for_ever(client: TestClient, studio: Studio) -> None:
    studio.moved |= {"/once": FILE, "/loop": "/loop"}
    assert client.post(PREDICT, json=body("/once")).is_success
    assert client.post(PREDICT, json=body(f"{studio.url}{FILE}#part")).is_success
    studio.asked.clear()
    check(client.post(PREDICT, json=body("/loop")), 502, "not-fetched", "more than 3 times")
    assert len(studio.asked) == 4


def test_files_are_bounded(client: TestClient, studio: Studio) -> None:
    studio.files |= {"/large": b"x" * 200_001, "/text": b"no image", "/empty": b""}
    check(client.post(PREDICT, json=body("/large")), 413, "too-many-bytes", "200000")
    check(client.post(PREDICT, json=body("/text")), 400, "not-an-image")
    assert client.post(PREDICT, json=body("/empty")).status_code == 400
    check(client.post(PREDICT, json=body("/nowhere")), 502, "not-fetched", "answers 404")
    studio.compressed = True
    try:
        check(client.post(PREDICT, json=body(FILE)), 502, "not-fetched", "compresses it")
    finally:
        studio.compressed = False


def test_a_host_that_is_not_there_or_refuses_the_token() -> None:
    with hosting() as studio, backend(studio, label_studio_token="other") as client:
        check(client.post(PREDICT, json=body(FILE)), 502, "not-fetched", "401: the token is not valid")
        url = studio.url
    with hosting() as gone:
        pass
    assert gone.url != url
    with backend(gone) as client:
        check(client.post(PREDICT, json=body(FILE)), 502, "not-fetched", "does not answer")


def test_a_personal_token_is_exchanged_once_and_again_when_its_time_is_over() -> None:
    token = personal("a")
    with hosting() as studio, backend(studio, label_studio_token=token) as client:
        studio.files[FILE] = IMAGE
        studio.personal.add(token)
        assert len(client.post(PREDICT, json=body(FILE, FILE, FILE)).json()["results"][2]["result"]) == 2
        assert client.post(PREDICT, json=body(FILE)).is_success
        assert studio.exchanged == 1
        assert {given for _, given in studio.asked} == {"Bearer access-1"}
        studio.expire()
        assert client.post(PREDICT, json=body(FILE)).is_success
        assert studio.exchanged == 2
        studio.expire()
        studio.personal.clear()
        refused = client.post(PREDICT, json=body(FILE))
        check(refused, 502, "not-fetched", "expired or was revoked")
        assert token not in refused.text


def test_a_token_that_is_refused_at_once_is_not_exchanged_for_ever() -> None:
    token = personal("a")
    with hosting() as studio, backend(studio, label_studio_token=token) as client:
        studio.personal.add(token)
        studio.tokens = set()

        class Forgetful(set[str]):
            def add(self, _: str) -> None:
                """Accept none of the tokens that are given out."""

        studio.tokens = Forgetful()
        check(client.post(PREDICT, json=body(FILE)), 502, "not-fetched", "not valid")
        assert studio.exchanged == 2 and len(studio.asked) == 2


def test_a_token_in_a_file_can_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    with hosting() as studio, backend(studio, label_studio_token_file=file) as client:
        studio.files[FILE] = IMAGE
        check(client.post(PREDICT, json=body(FILE)), 502, "not-fetched")
        file.write_text(f"{LEGACY}\n")
        assert client.post(PREDICT, json=body(FILE)).is_success
        file.unlink()
        check(client.post(PREDICT, json=body(FILE)), 502, "not-fetched", "cannot read its token")


def test_keys_come_as_a_password() -> None:
    with hosting() as studio, backend(studio, api_keys="key") as client:
        studio.files[FILE] = IMAGE
        for path in ("health", "versions"):
            check(client.get(f"/label-studio/{path}"), 401, "unauthorized")
        for path in ("setup", "validate", "predict"):
            check(client.post(f"/label-studio/{path}", json=body(FILE)), 401, "unauthorized")
        assert studio.asked == []
        assert client.get("/label-studio/health", auth=("anybody", "key")).is_success
        assert client.post(PREDICT, json=body(FILE), auth=("anybody", "key")).is_success
        check(client.post(PREDICT, json=body(FILE), auth=("key", "wrong")), 401, "unauthorized", "not valid")
        broken = {"authorization": "Basic " + base64.b64encode(b"\xff:key").decode()}
        check(client.post(PREDICT, json=body(FILE), headers=broken), 401, "unauthorized", "is needed")


def test_a_full_queue_is_waited_for() -> None:
    """Label Studio would not ask again."""
    with hosting() as studio, backend(studio, queue_length=1) as client:
        studio.files[FILE] = IMAGE
        results = client.post(PREDICT, json=body(FILE, FILE, FILE)).json()["results"]
        assert [len(each["result"]) for each in results] == [2, 2, 2]


def test_a_request_ends_in_time(discs: Discs) -> None:
    with hosting() as studio, backend(studio, discs, label_studio_seconds=0.2) as client:
        studio.files[FILE] = IMAGE
        discs.gate.clear()
        try:
            check(client.post(PREDICT, json=body(FILE)), 504, "deadline", "after 0.2 s")
            results = client.post(PREDICT, json=body(FILE, FILE)).json()["results"]
            assert [each["problem"] for each in results] == ["deadline", "deadline"]
        finally:
            discs.gate.set()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "needs either label_studio_token or label_studio_token_file"),
        ({"label_studio_token": "a", "label_studio_token_file": "/dev/null"}, "needs either"),
        ({"label_studio_token_file": "/dev/null"}, "must hold a token"),
        ({"label_studio_token": "two words"}, "must hold a token"),
    ],
)
def test_it_does_not_start_without_a_token(discs: Discs, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        create_app(settings(label_studio_url="http://studio.example", **changes), [disc_bundle(discs)])
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize("url", ["studio.example", "ftp://studio.example", "http://u:p@studio.example", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="is an address such as"):
        settings(label_studio_url=url)
    assert settings(label_studio_url="https://a.example:8080/studio/").label_studio_url.endswith("/studio")
