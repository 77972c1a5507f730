"""POST /segment, what is asked for and what comes back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.masks import rle
from service.http.schemas.answers import CocoResult, SegmentAnswer
from tests.parity.goldens import FOLDER
from tests.service.support import encoded, picture

PNG = {"content-type": "image/png"}
COFFEE = (FOLDER / "coffee.png").read_bytes()


def post(client: TestClient, data: bytes | None = None, **params: Any) -> Any:
    response = client.post("/segment", content=data or encoded(picture()), headers=PNG, params=params)
    assert response.status_code == 200, response.text
    return response.json()


def mask(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = segmentation["size"]
    return rle.decode(rle.decompress(segmentation["counts"]), width, height)


def test_answer(client: TestClient) -> None:
    answered = post(client)
    SegmentAnswer.model_validate(answered)
    assert (answered["model"], answered["width"], answered["height"]) == ("discs", 120, 80)
    disc, ring = answered["instances"]
    assert (disc["category_id"], disc["category"], disc["score"]) == (1, "disc", 0.9)
    assert (ring["category_id"], ring["category"], ring["score"]) == (7, "ring", 0.6)
    assert disc["bbox"] == [30, 20, 60, 40]
    assert disc["segmentation"]["size"] == [80, 120]
    assert (disc["resolution"], disc["points"], disc["truncated"]) == (28, "auto", False)
    assert list(answered["timings_ms"]) == ["decode", "queue", "coarse", "refine", "encode", "total"]
    assert sum(list(answered["timings_ms"].values())[:-1]) <= answered["timings_ms"]["total"] + 0.1
    for instance in (disc, ring):
        bitmap = mask(instance["segmentation"])
        assert instance["area"] == bitmap.sum() > 0
        y, x = np.nonzero(bitmap)
        left, top, width, height = instance["bbox"]
        assert left <= x.min() <= x.max() < left + width
        assert top <= y.min() <= y.max() < top + height


def test_form_and_raw_bodies_are_alike(client: TestClient) -> None:
    data = encoded(picture())
    form = client.post("/segment", files={"image": ("a.png", data, "image/png")})
    octets = client.post("/segment", content=data, headers={"content-type": "application/octet-stream"})
    assert form.json()["instances"] == octets.json()["instances"] == post(client, data)["instances"]


def test_formats_say_the_same(client: TestClient) -> None:
    plain = post(client)["instances"]
    numbers = post(client, format="rle_list")["instances"]
    shapes = post(client, format="polygon")["instances"]
    results = post(client, format="coco", image_id=42)
    for one, two, three, four in zip(plain, numbers, shapes, results, strict=True):
        counts = two["segmentation"]["counts"]
        assert rle.compress(np.array(counts)) == one["segmentation"]["counts"]
        rings = three["segmentation"]
        xs, ys = np.mgrid[:120, :80]
        inside = np.zeros((120, 80), bool)
        for ring in rings:  # even-odd at pixel centres
            x, y = np.array(ring[::2]), np.array(ring[1::2])
            for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
                if x0 == x1:
                    inside ^= (xs < x0) & (ys >= min(y0, y1)) & (ys < max(y0, y1))
        np.testing.assert_array_equal(inside.T, mask(one["segmentation"]))
        assert one["area"] == two["area"] == three["area"] == inside.sum()
        CocoResult.model_validate(four)
        assert four == {
            "image_id": 42,
            **{key: one[key] for key in ("category_id", "bbox", "score", "segmentation")},
        }


def test_coco_is_ready_for_pycocotools(client: TestClient) -> None:
    from pycocotools import mask as coco

    for one, result in zip(post(client)["instances"], post(client, format="coco"), strict=True):
        assert result["image_id"] == 0
        assert coco.area(result["segmentation"]) == one["area"]


def test_choices(client: TestClient) -> None:
    assert len(post(client, score=0.7)["instances"]) == 1
    assert len(post(client, max_instances=1)["instances"]) == 1
    assert [i["category"] for i in post(client, classes="ring")["instances"]] == ["ring"]
    assert len(post(client, classes="ring, disc")["instances"]) == 2
    assert post(client, model="discs", score=1)["instances"] == []


def test_boxes(client: TestClient) -> None:
    boxes = [[10, 10, 60.5, 50], [0, 0, 20, 20, "ring"], [-50, -50, 30, 30]]
    in_query = post(client, boxes=json.dumps(boxes), score=0.99, max_instances=1)
    assert [i["category"] for i in in_query["instances"]] == ["disc", "ring", "disc"]
    assert in_query["instances"][0]["bbox"] == pytest.approx([10, 10, 50.5, 40], abs=1e-4)
    assert in_query["instances"][2]["bbox"] == pytest.approx([0, 0, 30, 30], abs=1e-4)
    in_form = client.post(
        "/segment", files={"image": encoded(picture())}, data={"boxes": json.dumps(boxes)}
    ).json()
    assert in_form["instances"] == in_query["instances"]
    assert post(client, boxes="[]")["instances"] == []


def test_no_detections(client: TestClient) -> None:
    black = encoded(picture(brightness=0))
    for name in ("rle", "rle_list", "polygon"):
        assert post(client, black, format=name)["instances"] == []
    assert post(client, black, format="coco") == []


def test_a_single_pixel(client: TestClient, tiny_client: TestClient) -> None:
    answered = post(client, encoded(picture(1, 1)))
    assert (answered["width"], answered["height"]) == (1, 1)
    assert [mask(i["segmentation"]).shape for i in answered["instances"]] == [(1, 1)] * 2
    assert post(tiny_client, encoded(picture(1, 1)), score=0)["width"] == 1


def test_long_and_thin(client: TestClient) -> None:
    for width, height in ((3000, 1), (1, 3000)):
        answered = post(client, encoded(picture(width, height)))
        assert (answered["width"], answered["height"]) == (width, height)


def test_every_kind_of_pixels(client: TestClient) -> None:
    image = Image.fromarray(picture())
    alpha = image.copy()
    alpha.putalpha(200)
    deep = Image.fromarray(np.full((80, 120), 30_000, np.uint16))
    frames = [image.convert("P"), Image.new("P", image.size)]
    bodies = [
        encoded(image.convert("CMYK"), "JPEG"),
        encoded(deep),
        encoded(deep, "TIFF"),
        encoded(alpha.quantize(16)),
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encoded(image.convert("L"), "WebP"),
    ]
    for body in bodies:
        answered = post(client, body)
        assert (answered["width"], answered["height"], len(answered["instances"])) == (120, 80, 2)


def test_boxes_are_in_the_pixels_as_displayed(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to show
    answered = post(client, encoded(picture(), "JPEG", exif=exif))
    assert (answered["width"], answered["height"]) == (80, 120)
    assert answered["instances"][0]["bbox"] == pytest.approx([20, 30, 40, 60], abs=1e-4)
    assert answered["instances"][0]["segmentation"]["size"] == [120, 80]


def test_resolution_and_points(tiny_client: TestClient) -> None:
    for side, points in ((28, "auto"), (112, 784), (224, 300), (224, "auto")):
        asked = {"resolution": side, "points": points, "score": 0, "max_instances": 3}
        instances = post(tiny_client, COFFEE, **asked)["instances"]
        assert len(instances) == 3
        assert {(i["resolution"], i["points"], i["truncated"]) for i in instances} == {(side, points, False)}


def test_native_resolution_follows_the_box(tiny_client: TestClient) -> None:
    boxes = json.dumps([[0, 0, 20, 20], [0, 0, 100, 50], [0, 0, 600, 400]])
    instances = post(tiny_client, COFFEE, boxes=boxes)["instances"]
    assert [i["resolution"] for i in instances] == [28, 112, 896]
    assert {i["category"] for i in instances} <= {f"class_{i}" for i in range(1, 6)}


def test_request_id(client: TestClient) -> None:
    given = client.post("/segment", content=encoded(picture()), headers=PNG | {"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == given.json()["id"] == "mine-1"
    made = {client.get("/healthz").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    for bad in ("x" * 129, "tab\there", "umlaut-\xfc", ""):
        answered = client.get("/nowhere", headers={"x-request-id": bad.encode("latin-1")})
        assert answered.headers["x-request-id"] != bad
        assert answered.json()["request_id"] == answered.headers["x-request-id"]


def test_drawn_shapes_keep_their_place(tiny_client: TestClient) -> None:
    """Masks lie within their boxes, whatever the size of the image."""
    image = Image.new("RGB", (331, 517), "white")
    ImageDraw.Draw(image).ellipse((100, 200, 250, 400), fill="red")
    for instance in post(tiny_client, encoded(image), score=0, max_instances=5)["instances"]:
        left, top, width, height = instance["bbox"]
        y, x = np.nonzero(mask(instance["segmentation"]))
        assert instance["area"] == len(x)
        if len(x):
            assert left - 0.5 <= x.min() <= x.max() <= left + width
            assert top - 0.5 <= y.min() <= y.max() <= top + height
