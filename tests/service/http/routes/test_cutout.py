"""POST /segment?format=cutout, from the image's bytes to the picture."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.app import create_app
from service.decoding.pool import DecodePool
from tests.service.http.routes.test_segment import mask
from tests.service.label_maps import street
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for

PNG = {"content-type": "image/png"}
SIDES = np.random.default_rng(3).integers(60, 140, (80, 120, 3), np.uint8)


def cut(client: TestClient, data: bytes | None = None, **params: Any) -> NDArray[np.uint8]:
    asked = {"format": "cutout", **params}
    response = client.post("/segment", content=data or encoded(SIDES), headers=PNG, params=asked)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    assert "server-timing" in response.headers
    with Image.open(io.BytesIO(response.content)) as found:
        assert found.mode == "RGBA"
        return np.array(found)


def masks(client: TestClient, data: bytes, **params: Any) -> list[NDArray[np.bool_]]:
    answered = client.post("/segment", content=data, headers=PNG, params=params).json()
    return [mask(each["segmentation"]) for each in answered["instances"]]


def test_the_objects_are_cut_out(client: TestClient) -> None:
    """Where nothing is mixed, the pixels are the image's own; the alpha follows the masks of the other formats."""
    found = cut(client)
    assert found.shape == (80, 120, 4)
    union = np.logical_or.reduce(masks(client, encoded(SIDES)))
    assert np.mean((found[..., 3] >= 128) == union) > 0.98
    np.testing.assert_array_equal(found[found[..., 3] == 255, :3], SIDES[found[..., 3] == 255])
    assert not found[found[..., 3] == 0].any()
    partly = (found[..., 3] > 0) & (found[..., 3] < 255)
    assert np.count_nonzero(partly) > 50


def test_one_object_is_chosen_and_cropped(client: TestClient) -> None:
    disc, ring = (cut(client, instance=index) for index in (0, 1))
    assert disc[40, 60, 3] == 255 and ring[40, 60, 3] == 0  # the hole
    rows, columns = np.nonzero(ring[..., 3])
    crop = cut(client, instance=1, crop=True)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_array_equal(crop, ring[box])


def test_boxes_are_counted_in_their_order(client: TestClient) -> None:
    boxes = json.dumps([[0, 0, 40, 40], [60, 30, 110, 70]])
    first, second = (cut(client, boxes=boxes, instance=index) for index in (0, 1))
    assert first[20, 20, 3] == 255 and not first[:, 60:].any()
    assert second[50, 85, 3] == 255 and not second[:, :60].any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_is_cut_out_as_it_is_displayed(client: TestClient, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(SIDES, exif=exif)
    with Image.open(io.BytesIO(data)) as stored:
        upright = np.array(ImageOps.exif_transpose(stored))
    found = cut(client, data, boxes="[[10, 5, 60, 50]]")
    assert found.shape[:2] == upright.shape[:2]
    inside = found[..., 3] == 255
    assert inside[20, 30] and not inside[60:].any() and not inside[:, 65:].any()
    np.testing.assert_array_equal(found[inside, :3], upright[inside])


def test_nothing_found_is_a_transparent_picture(client: TestClient) -> None:
    black = encoded(picture(brightness=0))
    for crop in (False, True):
        found = cut(client, black, crop=crop)
        assert found.shape == (80, 120, 4) and not found.any()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"instance": 2}, "instance: the answer has 2 instances, so 0 to 1 are allowed, got 2"),
        ({"instance": 1, "max_instances": 1}, "the answer has 1 instance, so 0 to 0 are allowed, got 1"),
        ({"instance": 0, "score": 1}, "the answer has 0 instances, so there is none to choose, got 0"),
        ({"instance": -1}, "instance: Input should be greater than or equal to 0"),
        ({"instance": 0, "format": "rle"}, "instance: is for format cutout"),
        ({"crop": True, "format": "coco"}, "crop: is for format cutout"),
        (
            {"explain": True},
            "explain: has a place only in answers of format rle, rle_list, polygon, not cutout",
        ),
    ],
)
def test_what_is_not_there_is_refused(client: TestClient, params: dict[str, Any], told: str) -> None:
    asked = {"format": "cutout", **params}
    response = client.post("/segment", content=encoded(SIDES), headers=PNG, params=asked)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-parameter")
    assert told in response.json()["detail"]


def test_a_stream_and_a_semantic_model_have_none(client: TestClient) -> None:
    headers = PNG | {"accept": "application/x-ndjson"}
    asked = {"format": "cutout"}
    stream = client.post("/segment", content=encoded(SIDES), headers=headers, params=asked)
    assert stream.status_code == 422 and "must be one of rle, rle_list, polygon" in stream.json()["detail"]
    with TestClient(create_app(settings(), [street()])) as semantic:
        wait_for(lambda: semantic.get("/readyz").status_code == 200)
        refused = semantic.post("/segment", content=encoded(SIDES), headers=PNG, params=asked)
    assert refused.status_code == 422
    assert "of semantic models must be one of rle, rle_list, png" in refused.json()["detail"]


def test_an_image_too_large_for_the_budget_of_answers_is_refused(discs: Discs) -> None:
    """Before anything is decoded, and only in the format that shows its pixels."""
    data = encoded(picture(4000, 3200))
    with TestClient(create_app(settings(encode_bytes=37_000_000), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        refused = client.post("/segment?format=cutout", content=data, headers=PNG)
        assert (refused.status_code, refused.json()["type"]) == (413, "/problems/too-costly")
        assert "the image's 12800000 pixels" in refused.json()["detail"]
        assert "38400000 bytes, and 37000000 are allowed" in refused.json()["detail"]
        assert client.post("/segment", content=data, headers=PNG).status_code == 200


def test_pixels_are_decoded_once_more_only_if_there_is_something_to_show(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    decode = DecodePool.decode

    async def watched(self: DecodePool, job: Any) -> Any:
        sizes.append(job.size)
        return await decode(self, job)

    monkeypatch.setattr(DecodePool, "decode", watched)
    cut(client)
    assert sizes[1:] == [(80, 120)]
    cut(client, encoded(picture(brightness=0)))
    assert len(sizes) == 3
