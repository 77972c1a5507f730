"""POST /segment with JSON: the answers, limits and errors of other bodies."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from tests.docker.tools import succeeds
from tests.service.http.test_problems import check
from tests.service.support import Discs, disc_bundle, encoded, picture, running, settings, wait_for

IMAGE = encoded(picture())
TEXT = base64.b64encode(IMAGE).decode()
RAW = {"content-type": "image/png"}


def without_times(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return {name: value for name, value in answer.json().items() if name not in ("id", "timings_ms")}


@pytest.mark.parametrize(
    ("members", "query"),
    [
        ({}, ""),
        ({"resolution": 224, "points": "auto"}, "resolution=224"),
        ({"resolution": "native", "score": 0.7}, "score=0.7"),
        ({"classes": ["ring"], "format": "polygon"}, "classes=ring&format=polygon"),
        ({"boxes": [[1, 2, 30, 40], [5, 5, 50, 60, "ring"]]}, 'boxes=[[1,2,30,40],[5,5,50,60,"ring"]]'),
        ({"boxes": "[[1, 2, 30, 40]]", "model": None}, "boxes=[[1,2,30,40]]"),
        ({"max_instances": 1, "explain": False, "deadline_ms": 60000}, "max_instances=1"),
    ],
)
def test_the_answer_is_that_of_other_bodies(client: TestClient, members: dict[str, Any], query: str) -> None:
    given = client.post("/segment", json={"image": TEXT, **members})
    assert without_times(given) == without_times(client.post(f"/segment?{query}", content=IMAGE, headers=RAW))


def test_what_is_wrong_is_said(client: TestClient) -> None:
    def post(path: str = "/segment", **members: Any) -> httpx.Response:
        return client.post(path, json={"image": TEXT, **members})

    check(post(resolution=57), 422, "invalid-parameter", "resolution", "28, 56")
    check(post(explain=[]), 422, "invalid-parameter", "explain")
    check(post(images=1), 422, "invalid-parameter", "images", "there is no such parameter")
    check(post("/segment?score=0.1", score=0.2), 422, "invalid-parameter", "in the query and in the body")
    check(post(image="AAAA"), 400, "not-an-image")
    check(post(image=""), 400, "empty-body")
    check(post(image="?"), 400, "malformed-json", "not base64")
    check(post(boxes=[[1, 2, 3]]), 422, "invalid-parameter", "box 1 must be")
    check(client.post("/segment", json=[]), 400, "malformed-json")
    check(client.post("/segment", json={}), 400, "missing-image")
    zipped = {"content-type": "application/json", "content-encoding": "gzip"}
    check(client.post("/segment", content=b"x", headers=zipped), 415, "unsupported-encoding")


def test_the_limit_counts_the_bytes_in_base64(client: TestClient) -> None:
    """200,000 bytes of a body are 149,000 of an image."""
    check(client.post("/segment", json={"image": "A" * 199_980}), 400, "not-an-image")
    check(client.post("/segment", json={"image": "A" * 200_000}), 413, "too-many-bytes", "200000")

    def chunks() -> Any:
        yield b'{"image": "'
        for _ in range(5):
            yield b"A" * 50_000

    kind = {"content-type": "application/json"}
    check(client.post("/segment", content=chunks(), headers=kind), 413, "too-many-bytes", "200000")


def test_json_may_name_the_model(discs: Discs) -> None:
    with TestClient(create_app(settings(), [disc_bundle(discs), disc_bundle(discs, "others")])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        assert client.post("/segment", json={"image": TEXT, "model": "others"}).json()["model"] == "others"
        assert client.post("/segment", json={"image": TEXT}).json()["model"] == "discs"
        check(
            client.post("/segment", json={"image": TEXT, "model": "x"}),
            422,
            "invalid-parameter",
            "no model 'x'",
        )


def test_levels_come_as_lines_too(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: succeeds(f"{url}/readyz"))
        lines = {"accept": "application/x-ndjson"}
        answer = httpx.post(f"{url}/segment", json={"image": TEXT}, headers=lines, verify=False, timeout=60)
    assert json.loads(answer.text.splitlines()[-1])["event"] == "done"
