"""The parameter `explain`: what an answer says of where its masks come from."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from service.app import create_app
from service.http.schemas.answers import SegmentAnswer
from service.output.cost import encode_forecast
from tests.model.predict.test_explain import FEW, begun
from tests.service.http.routes.test_segment import COFFEE, PNG, post
from tests.service.http.test_problems import check
from tests.service.support import settings, wait_for

MEMBERS = {"score": 0.05, "max_instances": 2, "resolution": 112, "explain": "true"}


def cells_of(level: dict[str, Any]) -> list[int]:
    return np.frombuffer(base64.b64decode(level["cells"]), "<u4").tolist()


@pytest.mark.parametrize("format", ["rle", "rle_list", "polygon"])
def test_each_instance_is_explained(tiny_client: TestClient, format: str) -> None:
    answered = post(tiny_client, COFFEE, **MEMBERS, format=format)
    SegmentAnswer.model_validate(answered)
    assert len(answered["instances"]) == 2
    for instance in answered["instances"]:
        explained = instance.pop("explain")
        coarse, levels = explained["coarse"], explained["levels"]
        assert coarse["side"] == 7 and len(coarse["probabilities"]) == 49
        assert all(0 <= value <= 1 and round(value, 3) == value for value in coarse["probabilities"])
        assert [(level["side"], level["points"]) for level in levels] == [(28, 784), (56, 784), (112, 784)]
        assert levels[0]["cells"] is None
        for level in levels[1:]:
            cells = cells_of(level)
            assert len(cells) == 784 and cells == sorted(set(cells)) and cells[-1] < level["side"] ** 2
    plain = post(tiny_client, COFFEE, **{**MEMBERS, "explain": "false"}, format=format)
    assert plain["instances"] == answered["instances"]


def test_a_stream_explains_what_is_finished(tiny_client: TestClient) -> None:
    headers = PNG | {"accept": "application/x-ndjson"}
    answer = tiny_client.post("/segment", content=COFFEE, headers=headers, params=MEMBERS)
    *levels, done = map(json.loads, answer.text.splitlines())
    assert levels
    for level in levels:
        for early, late in zip(level["instances"], done["instances"], strict=True):
            assert early["explain"]["coarse"] == late["explain"]["coarse"]
            known = early["explain"]["levels"]
            assert known[-1]["side"] == level["side"]
            assert known == late["explain"]["levels"][: len(known)]


@pytest.mark.parametrize("format", ["coco", "png"])
def test_other_formats_have_no_place_for_it(tiny_client: TestClient, format: str) -> None:
    params = MEMBERS | {"format": format}
    refused = tiny_client.post("/segment", content=COFFEE, headers=PNG, params=params)
    check(refused, 422, "invalid-parameter")
    (error,) = refused.json()["errors"]
    assert error["parameter"] == ("explain" if format == "coco" else "format")


def test_label_maps_are_not_explained(label_maps: Bundle) -> None:
    with TestClient(create_app(settings(), [label_maps])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        refused = client.post("/segment", content=COFFEE, headers=PNG, params={"explain": "true"})
    check(refused, 422, "invalid-parameter")
    assert refused.json()["errors"][0]["parameter"] == "explain"


def test_what_it_takes_is_predicted() -> None:
    from model.pointrend.render import render
    from tests.model.predict.test_instance import predictor

    prediction, head = begun(FEW), predictor().head
    assert head is not None
    render(prediction.renders, head)
    explained = prediction.finish()
    listed = sum(mask.explanation.listed for mask in explained.masks if mask.explanation is not None)
    for region in prediction.regions:
        region.render.evaluated = None
    plain = prediction.finish()
    more, less = (encode_forecast("rle", "instance", each, 160, 120) for each in (explained, plain))
    assert listed == FEW.max_instances * 2 * 784
    assert more.bytes - less.bytes > 16 * listed and more.seconds > less.seconds
