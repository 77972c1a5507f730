"""Everything that can be wrong with a request, and the problem that says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.app import create_app
from service.http.problem_kinds import KINDS
from service.http.schemas.problems import ProblemDetails
from tests.model.predict.test_images import png
from tests.service.support import POISON, Discs, disc_bundle, encoded, picture, settings, wait_for

PNG = {"content-type": "image/png"}
GOOD = encoded(picture())
HUGE = png(20_000, 20_000, 8, 2, b"")


def check(response: Any, status: int, kind: str, *parts: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    ProblemDetails.model_validate(problem)
    assert problem["type"] == f"/problems/{kind}"
    assert (problem["status"], problem["title"]) == (KINDS[kind].status, KINDS[kind].title)
    assert problem["request_id"] == response.headers["x-request-id"]
    for part in parts:
        assert part in problem["detail"]
    return problem


@pytest.mark.parametrize(
    ("body", "status", "kind", "part"),
    [
        (b"just some text", 400, "not-an-image", "JPEG, PNG"),
        (b"", 400, "empty-body", "use a JPEG"),
        (encoded(picture(), "JPEG")[:400], 400, "corrupt-image", "complete file"),
        (GOOD[:60], 400, "corrupt-image", "complete file"),
        (HUGE, 413, "too-many-pixels", "20000 × 20000 = 400000000 pixels; at most 1000000"),
        (b"%PDF-1.7 ...", 415, "unsupported-format", "PDF"),
        (bytes(200_001), 413, "too-many-bytes", "at most 200000 bytes"),
    ],
)
def test_bad_bodies(client: TestClient, body: bytes, status: int, kind: str, part: str) -> None:
    check(client.post("/segment", content=body, headers=PNG), status, kind, part)
    if len(body) <= 200_000:
        form = client.post("/segment", files={"image": ("a.png", body, "image/png")})
        check(form, status, kind, part)


def test_size_is_limited_while_reading(client: TestClient) -> None:
    """No Content-Length announces a chunked body."""
    chunks = (bytes(1000) for _ in range(300))
    check(client.post("/segment", content=chunks, headers=PNG), 413, "too-many-bytes")
    check(client.post("/segment", files={"image": bytes(300_000)}), 413, "too-many-bytes")


@pytest.mark.parametrize("content_type", ["application/xml", "application/x-www-form-urlencoded", ""])
def test_content_type(client: TestClient, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = client.post("/segment", content=GOOD, headers=headers)
    check(response, 415, "unsupported-content-type", repr(content_type), "multipart/form-data")


def test_forms(client: TestClient) -> None:
    check(
        client.post("/segment", files={"picture": GOOD}),
        400,
        "bad-request",
        "'picture'",
        "image, model, resolution",
    )
    check(client.post("/segment", files={"boxes": b"[]"}), 400, "missing-image", "field image")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    check(client.post("/segment", content=b"nonsense", headers=broken), 400, "malformed-multipart")
    check(
        client.post("/segment", content=b"x", headers={"content-type": "multipart/form-data"}),
        400,
        "malformed-multipart",
        "boundary",
    )
    text = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nhello\r\n--x--\r\n'
    check(client.post("/segment", content=text, headers=broken), 400, "missing-image")


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("resolution", "300", "native or one of 28, 56, 112, 224, 448, 896, got '300'"),
        ("resolution", "big", "native"),
        ("points", "0", "auto or a number from 1"),
        ("points", "-3", "auto"),
        ("points", "many", "auto"),
        ("score", "1.5", "less than or equal to 1"),
        ("score", "-0.1", "greater than or equal to 0"),
        ("score", "nan", "finite"),
        ("score", "high", "number"),
        ("max_instances", "0", "greater than or equal to 1"),
        ("max_instances", "1001", "less than or equal to 1000"),
        ("max_instances", "2.5", "integer"),
        ("classes", "disc,cat", "there is no class 'cat'; allowed: disc, ring"),
        ("classes", "", "allowed: disc, ring"),
        ("format", "jpg", "'cvat' or 'hugging_face', got 'jpg'"),
        ("format", "alpha", "'rle'"),
        ("image_id", "first", "integer"),
        ("boxes", "", "not JSON"),
        ("boxes", "[[1,2,3", "not JSON"),
        ("boxes", "[" * 1000, "not JSON"),
        ("boxes", "{}", "must be a list"),
        ("boxes", "[1,2,3,4]", "box 1 must be [x0, y0, x1, y1]"),
        ("boxes", "[[0,0,9,9],[1,2,3]]", "box 2 must be"),
        ("boxes", '[["a",2,3,4]]', "must be numbers"),
        ("boxes", "[[true,2,3,4]]", "must be numbers"),
        ("boxes", "[[0,0,NaN,9]]", "must be finite"),
        ("boxes", "[[0,0,Infinity,9]]", "must be finite"),
        ("boxes", f"[[0,0,1{'0' * 400},9]]", "must be finite"),
        ("boxes", "[[5,0,5,9]]", "x1 must be above x0"),
        ("boxes", "[[0,9,5,5]]", "y1 above y0"),
        ("boxes", '[[0,0,9,9,"cat"]]', "there is no class 'cat'; allowed: disc, ring"),
        ("boxes", "[[0,0,9,9,1]]", "its class must be a name"),
        ("boxes", json.dumps([[0, 0, 9, 9]] * 1001), "at most 1000 are allowed"),
        ("boxes", "[[0,0,9,9],[120,0,200,9]]", "box 2, [120, 0, 200, 9], is not within the 120 × 80 image"),
        ("boxes", "[[0,-9,9,0]]", "not within"),
        ("deadline_ms", "0", "greater than or equal to 1"),
        ("deadline", "100", "there is no such parameter; allowed: model, resolution"),
        ("colour", "red", "there is no such parameter"),
    ],
)
def test_parameters(client: TestClient, name: str, value: str, part: str) -> None:
    response = client.post("/segment", content=GOOD, headers=PNG, params={name: value})
    problem = check(response, 422, "invalid-parameter", name, part)
    assert [finding["parameter"] for finding in problem["errors"]] == [name]


def test_all_wrong_parameters_are_named(client: TestClient) -> None:
    response = client.post("/segment", content=GOOD, headers=PNG, params={"score": 2, "points": "x"})
    problem = check(response, 422, "invalid-parameter")
    assert {finding["parameter"] for finding in problem["errors"]} == {"score", "points"}


def test_boxes_twice(client: TestClient) -> None:
    response = client.post("/segment", files={"image": GOOD}, data={"boxes": "[]"}, params={"boxes": "[]"})
    check(response, 422, "invalid-parameter", "given twice")


def test_unknown_model(client: TestClient) -> None:
    response = client.post("/segment", content=GOOD, headers=PNG, params={"model": "cats"})
    check(response, 422, "invalid-parameter", "'cats'", "loaded: discs")


def test_a_parameter_given_twice(client: TestClient) -> None:
    response = client.post("/segment?classes=disc&classes=ring", content=GOOD, headers=PNG)
    check(response, 422, "invalid-parameter", "classes: given several times")


@pytest.mark.parametrize(
    "params",
    [
        {"resolution": 896, "points": 802816},
        {"resolution": "native", "points": 100_000},
        {"resolution": 896, "boxes": json.dumps([[0, 0, 9, 9]] * 1000)},
        {"resolution": 896, "boxes": json.dumps([[0, 0, 9, 9]] * 1000), "points": 1},
    ],
    ids=str,
)
def test_a_request_cannot_ask_for_more_points_than_allowed(
    client: TestClient, params: dict[str, Any]
) -> None:
    response = client.post("/segment", content=GOOD, headers=PNG, params=params)
    check(response, 422, "invalid-parameter", "points: up to", "4000000 are allowed")


def test_masks_are_bounded_in_cells_as_well(client: TestClient) -> None:
    params: dict[str, Any] = {"resolution": 896, "boxes": json.dumps([[0, 0, 9, 9]] * 101), "points": 1}
    response = client.post("/segment", content=GOOD, headers=PNG, params=params)
    check(
        response, 422, "invalid-parameter", "resolution: up to 101 masks of side 896", "80281600 are allowed"
    )
    params |= {"boxes": json.dumps([[0, 0, 9, 9]] * 100)}
    assert client.post("/segment", content=GOOD, headers=PNG, params=params).is_success


def test_boxes_are_bounded_in_pixels_of_the_image(client: TestClient) -> None:
    """What lies outside of it does not count."""
    image = encoded(Image.new("L", (1000, 1000)))
    params = {"boxes": json.dumps([[-1e6, -1e6, 1e6, 1e6]] * 601), "resolution": 28}
    response = client.post("/segment", content=image, headers=PNG, params=params)
    check(response, 422, "invalid-parameter", "they have 601000000 pixels together", "600000000 are allowed")
    params = {"boxes": json.dumps([[-1e6, -1e6, 1e6, 1e6]] * 1000), "resolution": 28}
    assert client.post("/segment", content=GOOD, headers=PNG, params=params).is_success


def test_a_thousand_small_boxes_are_allowed(client: TestClient) -> None:
    params = {"boxes": json.dumps([[0, 0, 20, 20]] * 1000)}
    answered = client.post("/segment", content=GOOD, headers=PNG, params=params)
    assert len(answered.json()["instances"]) == 1000


def test_fewer_instances_may_have_more_points(discs: Discs) -> None:
    """If the queue is long enough for one request with all of this work."""
    params = {"resolution": 896, "points": 802816, "max_instances": 4}
    with TestClient(create_app(settings(queue_seconds=1000), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        assert client.post("/segment", content=GOOD, headers=PNG, params=params).is_success


def test_no_such_page_or_method(client: TestClient) -> None:
    check(client.get("/segments"), 404, "not-found")
    response = client.get("/segment")
    check(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


def test_unexpected_errors_leak_nothing(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    image = Image.new("RGB", (64, 64), POISON)
    response = client.post("/segment", content=encoded(image), headers=PNG | {"x-request-id": "request-7"})
    check(response, 500, "internal-error", "request-7")
    assert "trips" not in response.text
    assert "Traceback" not in response.text
    assert "request-7" in caplog.text
    assert "trips over this image" in caplog.text
    assert client.post("/segment", content=GOOD, headers=PNG).is_success


def test_rejections_are_counted(own_client: TestClient, discs: Discs) -> None:
    own_client.post("/segment", content=b"text", headers=PNG)
    own_client.get("/nowhere")
    text = own_client.get("/metrics").text
    assert 'pointrend_rejected_total{problem="not-an-image"} 1.0' in text
    assert 'pointrend_request_seconds_count{route="other",status="404"} 1.0' in text
    assert discs.batches == []
