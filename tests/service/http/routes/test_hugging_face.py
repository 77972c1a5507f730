"""POST /hf/image-segmentation, asked by Hugging Face's own client over a socket."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from export.bundle import Bundle
from model.masks import rle
from tests.service.http.test_problems import check
from tests.service.support import Discs, disc_bundle, encoded, get, picture, running, wait_for

PATH = "/hf/image-segmentation"
IMAGE = encoded(picture())
TEXT = base64.b64encode(IMAGE).decode()


@pytest.fixture(scope="module")
def url(label_maps: Bundle) -> Iterator[str]:
    discs = Discs()
    discs.gate.set()
    with running(disc_bundle(discs), label_maps, api_keys="secret") as found:
        wait_for(lambda: get(f"{found}/readyz").is_success)
        yield found


def inference(url: str, query: str = "", key: str | None = "secret") -> Any:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    return hub.InferenceClient(model=f"{url}{PATH}{query}", api_key=key)


def expected(url: str, query: str, kind: str) -> list[tuple[str, float | None, Any]]:
    import httpx

    headers = {"content-type": "image/png", "x-api-key": "secret"}
    answer = httpx.post(
        f"{url}/segment?{query}", content=IMAGE, headers=headers, verify=False, timeout=60
    ).json()
    return [
        (
            each["category"],
            each.get("score"),
            rle.decode(rle.decompress(each["segmentation"]["counts"]), answer["width"], answer["height"]),
        )
        for each in answer[kind]
    ]


def same(elements: Any, wanted: list[tuple[str, float | None, Any]]) -> None:
    assert len(elements) == len(wanted)
    for element, (label, score, mask) in zip(elements, wanted, strict=True):
        assert (element.label, element.score) == (label, score)
        assert element.mask.mode == "L"
        np.testing.assert_array_equal(np.array(element.mask), mask * np.uint8(255))


def test_the_client_gets_masks_of_bytes_and_of_a_file(url: str, tmp_path: Path) -> None:
    wanted = expected(url, "", "instances")
    assert [label for label, _, _ in wanted] == ["disc", "ring"]
    same(inference(url).image_segmentation(IMAGE), wanted)
    (tmp_path / "a.png").write_bytes(IMAGE)
    same(inference(url).image_segmentation(str(tmp_path / "a.png")), wanted)


def test_the_client_s_parameters_come_as_json(url: str) -> None:
    client = inference(url)
    found = client.image_segmentation(IMAGE, threshold=0.7, subtask="instance", mask_threshold=0.5)
    same(found, expected(url, "score=0.7", "instances"))
    same(
        inference(url, "?classes=ring").image_segmentation(IMAGE), expected(url, "classes=ring", "instances")
    )


def test_a_semantic_model_answers_an_entry_for_each_class(url: str, label_maps: Bundle) -> None:
    name = label_maps.manifest.name
    wanted = expected(url, f"model={name}", "segments")
    assert wanted
    same(inference(url, f"?model={name}").image_segmentation(IMAGE, subtask="semantic"), wanted)


def test_the_client_raises_what_is_wrong(url: str) -> None:
    errors = pytest.importorskip("huggingface_hub.errors", reason="huggingface_hub is not installed")
    with pytest.raises(errors.HfHubHTTPError, match="mask_threshold: is 0.5"):
        inference(url).image_segmentation(IMAGE, mask_threshold=0.4)
    with pytest.raises(errors.HfHubHTTPError, match="401"):
        inference(url, key="wrong").image_segmentation(IMAGE)


def test_what_is_wrong_is_said(client: TestClient) -> None:
    def post(parameters: Any, **members: Any) -> Any:
        return client.post(PATH, json={"inputs": TEXT, "parameters": parameters, **members})

    invalid = 422, "invalid-parameter"
    assert [each["label"] for each in post(None).json()] == ["disc", "ring"]
    check(post([]), *invalid, "parameters: must be an object")
    check(post({}, options={}), *invalid, "no such member; allowed: inputs, parameters")
    check(post({"subtask": "semantic"}), *invalid, "subtask: of this model is instance")
    check(post({"overlap_mask_area_threshold": 0.5}), *invalid, "panoptic")
    check(post({"threshold": 0.5, "score": 0.5}), *invalid, "the same as score")
    check(post({"threshold": 2}), *invalid, "score")
    check(post({"format": "rle"}), *invalid, "always hugging_face")
    check(client.post(f"{PATH}?format=rle", content=IMAGE), *invalid, "always hugging_face")
    check(client.post(f"{PATH}?colour=red", content=IMAGE), *invalid, "colour: there is no such parameter")
    check(client.post(PATH, json={"image": TEXT}), 400, "missing-image", "'inputs'")
    check(client.post(PATH, content=b"no image"), 400, "not-an-image")
    check(client.post(PATH, content=b"x" * 200_001), 413, "too-many-bytes")


def test_our_parameters_may_be_among_them(client: TestClient) -> None:
    box = client.post(
        PATH, json={"inputs": TEXT, "parameters": {"boxes": [[0, 0, 40, 30, "ring"]], "resolution": 28}}
    )
    (entry,) = box.json()
    assert entry["label"] == "ring"
    with Image.open(io.BytesIO(base64.b64decode(entry["mask"]))) as mask:
        assert mask.size == (120, 80)
        assert np.array(mask)[:, 40:].max() == 0 and np.array(mask).max() == 255
