"""What a client makes of answers, without a server."""

from __future__ import annotations

import sys
from typing import Any

import httpx
import numpy as np
import pytest

from pointrend_client import AsyncClient, Client, ClientError, Segmentation
from pointrend_client.results import parse

RUNS = {"size": [2, 3], "counts": "222"}  # the middle column
COMMON = {"id": "7", "model": "m", "width": 3, "height": 2, "degraded": False, "timings_ms": {"total": 1.0}}
INSTANCE = {
    "category": "disc",
    "category_id": 1,
    "score": 0.9,
    "bbox": [1.0, 0.0, 1.0, 2.0],
    "area": 2,
    "segmentation": RUNS,
    "resolution": 28,
    "truncated": False,
}
SEGMENT = {"category": "road", "category_id": 4, "area": 2, "segmentation": RUNS}
CARD = {
    "name": "street",
    "task": "semantic",
    "ready": True,
    "categories": [{"id": 4, "name": "road"}, {"id": 0, "name": "sky"}],
    "palette": [[1, 2, 3], [4, 5, 6]],
    "sides": None,
}


def answering(content: Any) -> httpx.Client:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=content, request=request))
    return httpx.Client(transport=transport, base_url="http://service")


def segments() -> Segmentation:
    return parse({**COMMON, "resolution": 2, "points": "auto", "truncated": False, "segments": [SEGMENT]})


def test_a_semantic_model_s_answer_has_segments() -> None:
    found = segments()
    assert found.instances == ()
    (road,) = found.segments
    assert (road.category, road.category_id, road.area, road.bbox) == ("road", 4, 2, (1.0, 0.0, 1.0, 2.0))
    assert road.mask.tolist() == found.masks()[0].tolist() == [[False, True, False]] * 2


def test_run_lengths_are_not_in_a_repr() -> None:
    for found in (segments(), parse({**COMMON, "instances": [INSTANCE]})):
        assert "222" not in repr(found) and "area=2" in repr(found)


def test_segments_are_detections_without_scores() -> None:
    found = segments().detections()
    assert found.xyxy.tolist() == [[1, 0, 2, 2]] and found.confidence is None
    assert found.class_id is not None and found.class_id.tolist() == [4]
    assert found.mask is not None and np.array_equal(found.mask, segments().masks())


def test_detections_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ClientError, match="needs the library supervision: pip install supervision"):
        segments().detections()


def test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = {**CARD, "name": "people", "task": "instance", "palette": None}
    with Client("http://service") as client:
        monkeypatch.setattr(client, "_http", answering([CARD, instance]))
        street, people = client.models()
    assert (street.name, street.task, street.categories) == ("street", "semantic", {4: "road", 0: "sky"})
    assert street.palette == ((1, 2, 3), (4, 5, 6)) and people.palette == ()
    assert list(street.categories) == [4, 0]  # in the order of a label map's values
    assert street.card["sides"] is None


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("method", ["segment", "label_map", "cutout"])
def test_a_format_is_refused_where_it_would_change_nothing(kind: Any, method: str) -> None:
    client = kind("http://service")
    with pytest.raises(TypeError, match=r"post\(\) takes any `format`"):
        call = getattr(client, method)(b"x", format="polygon")
        call.send(None)  # of the client for asyncio
