"""The Open Inference Protocol, spoken by Triton's own client over a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.support import Discs, disc_bundle, encoded, get, picture, running, wait_for

IMAGE = encoded(picture())
http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
KEY = {
    "authorization": "Bearer secret"
}  # copied for each request, because the client adds to what it is given


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    discs = Discs()
    discs.gate.set()
    with running(disc_bundle(discs), api_keys="secret") as found:
        wait_for(lambda: get(f"{found}/readyz").is_success)
        yield found


@pytest.fixture
def triton(url: str) -> Iterator[Any]:
    with http.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def image(*, binary: bool, shape: tuple[int, ...] = (1,)) -> Any:
    tensor = http.InferInput("image", list(shape), "BYTES")
    element = IMAGE if binary else base64.b64encode(IMAGE)
    return [tensor.set_data_from_numpy(np.array([element], object).reshape(shape), binary_data=binary)]


def expected(url: str, query: str = "") -> Any:
    headers = {"content-type": "image/png", **KEY}
    return httpx.post(
        f"{url}/segment?{query}", content=IMAGE, headers=headers, verify=False, timeout=60
    ).json()


def check(found: Any, wanted: Any) -> None:
    (answer,) = found.as_numpy("answer")
    assert json.loads(answer)["instances"] == wanted["instances"]
    boxes = np.array([each["bbox"] for each in wanted["instances"]], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_allclose(found.as_numpy("boxes"), boxes)
    scores = np.array([each["score"] for each in wanted["instances"]], np.float32)
    np.testing.assert_array_equal(found.as_numpy("scores"), scores)
    names = [each if isinstance(each, str) else each.decode() for each in found.as_numpy("classes").tolist()]
    assert names == [each["category"] for each in wanted["instances"]]


def test_health_and_metadata(triton: Any) -> None:
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert triton.is_model_ready("discs", headers={**KEY})
    assert not triton.is_model_ready("cats", headers={**KEY})
    assert triton.get_model_metadata("discs", headers={**KEY})["inputs"][0]["name"] == "image"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_an_inference_is_a_segment_request(
    triton: Any, url: str, binary: bool, shape: tuple[int, ...]
) -> None:
    found = triton.infer("discs", image(binary=binary, shape=shape), headers={**KEY}, request_id="7")
    check(found, expected(url))
    assert found.get_response()["id"] == "7"
    names = ("answer", "boxes", "scores", "classes")
    wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in names]
    parameters = {"score": 0.7, "resolution": "56"}
    found = triton.infer(
        "discs",
        image(binary=binary),
        outputs=wanted,
        headers={**KEY},
        parameters=parameters,
        timeout=60_000_000,
    )
    check(found, expected(url, "score=0.7&resolution=56"))


def test_outputs_are_those_that_were_asked_for(triton: Any) -> None:
    mixed = [http.InferRequestedOutput("scores", binary_data=False), http.InferRequestedOutput("boxes")]
    found = triton.infer("discs", image(binary=True), outputs=mixed, headers={**KEY})
    assert found.as_numpy("scores").tolist() == pytest.approx([0.9, 0.6])
    assert found.as_numpy("boxes").shape == (2, 4)
    assert found.as_numpy("answer") is None
    none = triton.infer("discs", image(binary=True), headers={**KEY}, parameters={"score": 1.0})
    assert none.as_numpy("boxes").shape == (0, 4) and none.as_numpy("classes").shape == (0,)


def test_a_picture_is_an_element(triton: Any) -> None:
    found = triton.infer("discs", image(binary=True), headers={**KEY}, parameters={"format": "cutout"})
    assert found.as_numpy("answer")[0].startswith(b"\x89PNG")


def test_the_client_raises_what_is_wrong(triton: Any) -> None:
    utils = pytest.importorskip("tritonclient.utils")
    with pytest.raises(utils.InferenceServerException, match="colour: there is no such parameter") as caught:
        triton.infer("discs", image(binary=True), headers={**KEY}, parameters={"colour": "red"})
    assert caught.value.status() == "422"
    with pytest.raises(utils.InferenceServerException, match="API key"):
        triton.infer("discs", image(binary=True))
    with pytest.raises(utils.InferenceServerException, match="no model 'cats'"):
        triton.get_model_metadata("cats", headers={**KEY})
