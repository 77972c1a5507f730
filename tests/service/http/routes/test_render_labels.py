"""POST /render of semantic models: windows of the label map of a kept picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from export.bundle import Bundle
from service.app import create_app
from service.http.schemas.answers import LabelAnswer
from tests.service.http.routes.test_render import gauge
from tests.service.http.test_problems import check
from tests.service.label_maps import BODY, labels_of, post
from tests.service.support import settings, wait_for

VIEW = {"window": "10.5,5,60.5,40", "width": 120, "height": 84}


@pytest.fixture(scope="module")
def client(label_maps: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app(settings(), [label_maps])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


@pytest.fixture(scope="module")
def kept(client: TestClient) -> str:
    return str(post(client, keep=60).json()["kept"])


def ask(client: TestClient, kept: str, **changes: Any) -> Any:
    params = {"id": kept, **VIEW, **changes}
    return client.post("/render", params={k: v for k, v in params.items() if v is not None})


def labels(answer: Any) -> NDArray[np.uint8]:
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png", answer.text
    return np.array(Image.open(io.BytesIO(answer.content)))


def test_a_window_is_a_label_map(client: TestClient, kept: str) -> None:
    before = gauge(client, "pointrend_batch_images_count")
    found = labels(ask(client, kept))
    assert found.shape == (84, 120) and set(np.unique(found)) <= {0, 1, 2}
    assert gauge(client, "pointrend_batch_images_count") == before  # no network ran
    whole = labels(ask(client, kept, window="0,0,100,70", width=100, height=70))
    expected = np.array(Image.open(io.BytesIO(post(client, format="png").content)))
    assert (whole == expected).mean() > 0.995


def test_its_colours_are_those_of_the_model(client: TestClient, kept: str) -> None:
    picture = Image.open(io.BytesIO(ask(client, kept).content))
    palette = client.get("/models").json()[0]["palette"]
    assert picture.getpalette()[:9] == [part for colour in palette for part in colour]  # type: ignore[index]


def test_run_lengths_are_those_of_each_class(client: TestClient, kept: str) -> None:
    answer = ask(client, kept, format="rle").json()
    LabelAnswer.model_validate(answer)
    assert (answer["width"], answer["height"], answer["resolution"]) == (120, 84, 84)
    np.testing.assert_array_equal(labels_of(answer), labels(ask(client, kept)))


@pytest.mark.parametrize(
    ("changes", "parameter", "why"),
    [
        ({"instance": 0}, "instance", "is for masks of instances"),
        ({"window": "0,0,101,70"}, "window", "within the 100 × 70 picture"),
        ({"window": None}, "window", "is needed"),
        ({"height": 1}, "height", "at least 2"),
        ({"width": 2049}, "width", "2048"),
        ({"format": "coco"}, "format", "'png' or 'rle'"),
    ],
)
def test_what_is_not_allowed_is_said(
    client: TestClient, kept: str, changes: dict[str, Any], parameter: str, why: str
) -> None:
    refused = ask(client, kept, **changes)
    check(refused, 422, "invalid-parameter")
    (error,) = refused.json()["errors"]
    assert error["parameter"] == parameter and why in refused.json()["detail"]


def test_work_is_bounded(label_maps: Bundle) -> None:
    with TestClient(create_app(settings(max_points=60_000), [label_maps])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        kept = post(client, keep=60).json()["kept"]
        assert ask(client, kept).is_success
        refused = ask(client, kept, width=2048, height=2048)
    check(refused, 422, "invalid-parameter")
    assert refused.json()["errors"][0]["parameter"] == "points"


def test_there_are_no_boxes(client: TestClient, kept: str) -> None:
    card = client.get("/models").json()[0]
    assert card["keeps"] is True and card["segments_kept"] is False
    refused = client.post("/segment", params={"kept": kept, "boxes": "[[0,0,9,9]]"})
    check(refused, 422, "invalid-parameter")
    assert refused.json()["errors"][0]["parameter"] == "kept"


def test_other_formats_have_the_header(client: TestClient) -> None:
    answer = post(client, BODY, format="png", keep=60)
    assert ask(client, answer.headers["x-kept-id"]).is_success


def test_an_unknown_picture_is_to_be_sent_again(client: TestClient) -> None:
    check(ask(client, "unknown"), 404, "not-kept")
