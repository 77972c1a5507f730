"""What clients, tools and proxies send by habit, over a real socket, as they write it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from tests.service.http.test_problems import check
from tests.service.support import (
    PATIENCE,
    Discs,
    disc_bundle,
    encoded,
    get,
    metrics,
    picture,
    running,
)

GOOD = encoded(picture())
PNG = {"content-type": "image/png"}
PAGES = ("/healthz", "/readyz", "/models", "/models/discs", "/metrics", "/docs", "/openapi.json")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    found = Discs(), Discs()
    for each in found:
        each.gate.set()
    with running(disc_bundle(found[0]), disc_bundle(found[1], "second"), max_body_bytes=200_000) as address:
        yield address


def head(url: str) -> httpx.Response:
    return httpx.head(url, verify=False, timeout=PATIENCE)


def post(url: str, **more: object) -> httpx.Response:
    return httpx.post(url, verify=False, timeout=PATIENCE, **more)  # type: ignore[arg-type]


def form(url: str, **fields: object) -> httpx.Response:
    return post(f"{url}/segment", files={"image": ("a.png", GOOD, "image/png")}, data=fields)


def raw(url: str, request: str, body: bytes = b"") -> tuple[int, str | None, Any]:
    """Status, Location and JSON of the answer to a request whose first line and headers are as given."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), PATIENCE) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode() + b"\r\n" + body)
        with http.client.HTTPResponse(connection) as answered:
            answered.begin()
            found = answered.read()
            return answered.status, answered.getheader("location"), json.loads(found) if found else None


@pytest.mark.parametrize("page", PAGES)
def test_head_is_get_without_a_body(url: str, page: str) -> None:
    one, other = get(url + page), head(url + page)
    assert (one.status_code, other.status_code, other.content) == (200, 200, b"")
    changing = {"x-request-id", "date", "content-length" if page == "/metrics" else ""}
    assert {name: value for name, value in one.headers.items() if name not in changing} == {
        name: value for name, value in other.headers.items() if name not in changing
    }
    assert int(other.headers["content-length"]) > 0


def test_head_of_what_is_not_there(url: str) -> None:
    assert (head(f"{url}/nowhere").status_code, head(f"{url}/nowhere").content) == (404, b"")
    assert (head(f"{url}/segment").status_code, head(f"{url}/segment").headers["allow"]) == (405, "POST")
    assert (head(url).status_code, head(url).content) == (200, b"")


def test_head_counts_for_its_page(url: str) -> None:
    head(f"{url}/healthz")
    assert 'pointrend_request_seconds_count{route="/healthz",status="200"}' in metrics(url)
    refused = post(f"{url}/healthz")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_connection_goes_on_after_head(url: str) -> None:
    with httpx.Client(base_url=url, verify=False, timeout=PATIENCE) as client:
        for _ in range(2):
            assert client.head("/readyz").status_code == 200
            assert client.post("/segment", content=GOOD, headers=PNG).status_code == 200


@pytest.mark.parametrize(
    "target", ["http://service.example/healthz", "HTTPS://a:80/healthz", "http://a/healthz?x=1"]
)
def test_a_target_may_name_its_host(url: str, target: str) -> None:
    assert raw(url, f"GET {target} HTTP/1.1\nHost: b\n") == (200, None, {"status": "ok"})


def test_a_target_with_a_host_keeps_its_query(url: str) -> None:
    length = f"Content-Type: image/png\nContent-Length: {len(GOOD)}\n"
    _, _, found = raw(url, f"POST http://a/segment?model=second&score=0.7 HTTP/1.1\nHost: b\n{length}", GOOD)
    assert (found["model"], len(found["instances"])) == ("second", 1)
    for target in ("http://a", "http://a?x=/healthz"):  # the page, which is the only one that has a tag
        assert raw(url, f"GET {target} HTTP/1.1\nHost: b\nIf-None-Match: *\n") == (304, None, None)


@pytest.mark.parametrize("page", ["/healthz/", "/models/", "/models/discs/", "/docs/"])
def test_a_final_slash_changes_nothing(url: str, page: str) -> None:
    assert (get(url + page).status_code, head(url + page).status_code) == (200, 200)


def test_a_final_slash_needs_no_second_body(url: str) -> None:
    """A redirect would name a host and a scheme that only the proxy in front knows."""
    answered = post(f"{url}/segment/", content=GOOD, headers=PNG | {"x-forwarded-proto": "https"})
    assert (answered.status_code, len(answered.json()["instances"])) == (200, 2)
    assert get(f"{url}/segment//").status_code == 404


def test_a_file_without_a_plain_name(url: str) -> None:
    body = (
        b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename*=UTF-8''%C3%A4.png\r\n"
        b"Content-Type: image/png\r\n\r\n" + GOOD + b"\r\n--x--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert post(f"{url}/segment", content=body, headers=headers).status_code == 200


def test_parameters_may_be_fields_of_the_form(url: str) -> None:
    assert len(form(url).json()["instances"]) == 2
    assert len(form(url, score="0.7").json()["instances"]) == 1
    found = form(url, model="second", classes="ring", format="rle_list", points="100").json()
    assert (found["model"], [each["category"] for each in found["instances"]]) == ("second", ["ring"])
    assert isinstance(found["instances"][0]["segmentation"]["counts"], list)
    boxes = form(url, boxes="[[10, 20, 30, 40]]", format="coco", image_id="7").json()
    assert [each["image_id"] for each in boxes] == [7]
    mixed = post(f"{url}/segment?format=coco", files={"image": GOOD}, data={"image_id": "3", "score": "0.7"})
    assert [each["image_id"] for each in mixed.json()] == [3]


@pytest.mark.parametrize(
    ("fields", "parameter", "told"),
    [
        ({"resolution": "300"}, "resolution", "native or one of 28, 56, 112"),
        ({"score": "high"}, "score", "valid number"),
        ({"points": "many"}, "points", "auto or a number"),
        ({"format": "jpg"}, "format", "'cvat' or 'hugging_face', got 'jpg'"),
        ({"format": "png"}, "format", "of instance models must be one of rle"),
        ({"model": "cats"}, "model", "loaded: discs, second"),
        ({"classes": "cat"}, "classes", "allowed: disc, ring"),
        ({"score": ""}, "score", "valid number"),
    ],
)
def test_fields_are_checked_as_parameters_are(
    url: str, fields: dict[str, str], parameter: str, told: str
) -> None:
    problem = check(form(url, **fields), 422, "invalid-parameter", told)
    assert [finding["parameter"] for finding in problem["errors"]] == [parameter]


def test_query_and_form_may_not_contradict_each_other(url: str) -> None:
    for name, value in (("resolution", "28"), ("model", "discs")):
        answered = post(f"{url}/segment?{name}={value}", files={"image": GOOD}, data={name: value})
        check(answered, 422, "invalid-parameter", f"{name}: given twice, in the query and in the body")
    check(form(url, score=["0.1", "0.2"]), 400, "malformed-multipart", "the field score comes several times")


def test_fields_are_few_and_small(url: str) -> None:
    check(
        form(url, colour="red"),
        400,
        "bad-request",
        "no form field 'colour'",
        "image, model, resolution, points",
    )
    check(form(url, classes="a" * 16_385), 400, "malformed-multipart", "classes may have at most 16384 bytes")
    too_long = post(f"{url}/segment", files={"image": GOOD, "score": ("score.txt", b"0" * 16_385)})
    check(too_long, 400, "malformed-multipart", "the field score may have at most 16384 bytes")


def test_a_parameter_may_come_as_a_file(url: str) -> None:
    """As `curl -F boxes=@boxes.json` sends it, of a file that an editor wrote."""
    files = {"image": GOOD, "boxes": ("boxes.json", b"\xef\xbb\xbf[[10, 10, 60, 60]]\r\n")}
    answered = post(f"{url}/segment", files=files | {"resolution": ("side.txt", b"28\n", "text/plain")})
    assert answered.status_code == 200, answered.text
    assert [each["resolution"] for each in answered.json()["instances"]] == [28]


@pytest.mark.parametrize("encoding", ["gzip", "br", "x" * 300])
def test_an_encoding_that_is_not_read_is_named(url: str, encoding: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
    body = gzip.compress(encoded(noise))
    answered = post(f"{url}/segment", content=body, headers=PNG | {"content-encoding": encoding})
    check(answered, 415, "unsupported-encoding", repr(encoding[:80]), "without a Content-Encoding")
    assert answered.headers["accept-encoding"] == "identity"


def test_the_encoding_that_is_none(url: str) -> None:
    for encoding in ("identity", "Identity", ""):
        answered = post(f"{url}/segment", content=GOOD, headers=PNG | {"content-encoding": encoding})
        assert answered.status_code == 200
