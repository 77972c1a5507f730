"""A semantic model behind the same pages: segments, label maps, and what it refuses."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

import service.cli.commands as cli
from export.bundle import Bundle
from model.masks.palette import default_palette
from model.predict.label_map import LabelMapOptions
from pointrend_client import Client, Refused
from pointrend_client.results import read_label_map
from service import execution
from service.app import create_app
from service.cli.files import ImageFile
from service.cli.offline import offline
from service.cli.overlay import drawn
from service.http.query.parameters import SegmentQuery
from tests.service.label_maps import BODY, CATEGORIES, PICTURE, labels_of, post
from tests.service.support import Discs, disc_bundle, get, running, settings, wait_for


@pytest.fixture(scope="module")
def client(label_maps: Bundle) -> Iterator[TestClient]:
    discs = Discs()
    discs.gate.set()
    with TestClient(create_app(settings(max_points=200_000), [disc_bundle(discs), label_maps])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


def labels(bundle: Bundle, options: LabelMapOptions, height: int = 70, width: int = 100) -> np.ndarray:
    """What the predictor itself sees in the picture."""
    found: np.ndarray = bundle.predictor(PICTURE, options).finish().labels(height, width)  # type: ignore[attr-defined]
    return found


def test_segments_are_the_predictors_label_map(client: TestClient, label_maps: Bundle) -> None:
    answer = post(client).json()
    assert (answer["width"], answer["height"], answer["resolution"]) == (100, 70, 70)
    assert answer["truncated"] is answer["degraded"] is False and answer["points"] == "auto"
    expected = labels(label_maps, LabelMapOptions())
    np.testing.assert_array_equal(labels_of(answer), expected)
    by_name = {category.name: category.id for category in CATEGORIES}
    assert all(s["category_id"] == by_name[s["category"]] for s in answer["segments"])


def test_a_label_map_is_a_picture_of_the_height_asked_for(client: TestClient, label_maps: Bundle) -> None:
    response = post(client, format="png", resolution=210)
    assert response.headers["content-type"] == "image/png" and "coarse" in response.headers["server-timing"]
    image = Image.open(io.BytesIO(response.content))
    assert image.mode == "P" and image.size == (300, 210)
    assert tuple(image.getpalette()[:9]) == tuple(part for c in default_palette(3) for part in c)  # type: ignore[index]
    expected = labels(label_maps, LabelMapOptions(210), 210, 300)
    np.testing.assert_array_equal(read_label_map(response.content), expected)


def test_fewer_rows_than_the_image_has(client: TestClient, label_maps: Bundle) -> None:
    answer = post(client, resolution=35).json()
    assert (answer["resolution"], answer["height"], answer["truncated"]) == (35, 70, False)
    expected = labels(label_maps, LabelMapOptions(35), 70, 100)
    np.testing.assert_array_equal(labels_of(answer), expected)


def test_only_the_classes_asked_for(client: TestClient) -> None:
    whole = labels_of(post(client).json())
    two = labels_of(post(client, classes="disc, bar").json())
    np.testing.assert_array_equal(two, np.where(whole == 0, 255, whole))
    kept = CATEGORIES[int(np.bincount(whole.ravel()).argmax())].name
    some = post(client, classes=kept).json()
    assert [segment["category"] for segment in some["segments"]] == [kept]
    picture = read_label_map(post(client, classes=kept, format="png").content)
    np.testing.assert_array_equal(picture, labels_of(some))


def test_fewer_points_and_rle_lists(client: TestClient, label_maps: Bundle) -> None:
    answer = post(client, points=10, format="rle_list").json()
    assert answer["points"] == 10
    assert sum(sum(s["segmentation"]["counts"][1::2]) for s in answer["segments"]) == 7000
    picture = read_label_map(post(client, points=10, format="png").content)
    expected = labels(label_maps, LabelMapOptions(points=10), 70, 100)
    np.testing.assert_array_equal(picture, expected)
    assert (labels(label_maps, LabelMapOptions()) != expected).any()


@pytest.mark.parametrize(
    ("asked", "parameter", "says"),
    [
        (
            {"format": "polygon"},
            "format",
            "of semantic models must be one of rle, rle_list, png, geojson, label_studio, label_studio_polygon, cvat, "
            "hugging_face, got ",
        ),
        ({"score": 0.3}, "score", "is for masks of instances; this is a semantic model"),
        ({"boxes": "[[1, 2, 30, 40]]"}, "boxes", "is for masks of instances; this is a semantic model"),
        ({"max_instances": 3}, "max_instances", "is for masks of instances; this is a semantic model"),
        ({"classes": "sky"}, "classes", "there is no class 'sky'; allowed: ground, disc, bar"),
        ({"resolution": 8000}, "resolution", "a label map of 11429×8000 is too large"),
        ({"resolution": 0}, "resolution", "must be native or a height from 1 to 8192, got '0'"),
        ({"points": 100_000, "resolution": 1024}, "points", "a label map of 1463×1024 may take"),
        (
            {"model": "discs", "format": "png"},
            "format",
            "of instance models must be one of rle, rle_list, polygon, coco, cutout, yolo, geojson, label_studio, ",
        ),
        ({"model": "discs", "resolution": 70}, "resolution", "must be native or one of 28, 56"),
    ],
)
def test_what_does_not_fit_is_refused(
    asked: dict[str, Any], parameter: str, says: str, client: TestClient
) -> None:
    response = post(client, **asked)
    assert response.status_code == 422
    (finding,) = response.json()["errors"]
    assert finding["parameter"] == parameter and finding["detail"].startswith(says)


def test_what_would_cost_too_much_is_refused_before_anything_is_computed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header of the image tells its size, so it is not even decoded."""

    def decode(_: object) -> None:
        raise AssertionError("the image is decoded")

    decoder = client.app.state.service.resources.decoder  # type: ignore[attr-defined]
    monkeypatch.setattr(decoder, "decode", decode)
    for asked in ({"points": 100_000, "resolution": 1024}, {"resolution": 8000}):
        assert post(client, **asked).status_code == 422
    outside = post(client, model="discs", boxes="[[200, 10, 220, 30]]")
    assert "is not within the 100 × 70 image" in outside.json()["detail"]


def test_both_models_are_listed(client: TestClient) -> None:
    one, other = client.get("/models").json()
    assert (one["task"], other["task"]) == ("instance", "semantic")
    assert other["sides"] is other["score_threshold"] is None
    assert other["palette"] == [list(c) for c in default_palette(3)] and one["palette"] is None


def test_heights_do_not_flood_the_metrics(client: TestClient) -> None:
    for height in (90, 91, 92, 130):
        assert post(client, resolution=height).is_success
    lines = client.get("/metrics").text.splitlines()
    masks = [line for line in lines if line.startswith('pointrend_masks_total{model="street"')]
    assert {line.split('side="')[1].split('"')[0] for line in masks} <= {"64", "128", "256"}


def test_files_without_a_server(label_maps: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(BODY)

    async def answer(format: str) -> tuple[bytes, Image.Image]:
        query = SegmentQuery.model_validate({"format": format})
        async with offline(label_maps, settings(), query) as local:
            found = await local.answer(ImageFile(file, 1))
            return found, drawn(PICTURE, found, local.look)

    picture, first = asyncio.run(answer("png"))
    assert read_label_map(picture).shape == (70, 100)
    written, second = asyncio.run(answer("rle"))
    assert labels_of(json.loads(written)).max() < 3
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert first.width == 100 and first.height > 70  # a legend below it


def test_the_command_writes_a_picture(
    label_maps: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "open_bundle", lambda folder, execution: label_maps)
    (tmp_path / "a.png").write_bytes(BODY)
    given = ["segment", "--bundle", "street", "--threads", "1", "--format", "png"]

    def run(image: Path) -> Result:
        asked = ["--image", str(image), "--out", str(tmp_path / "map.png"), "--resolution", "35"]
        return CliRunner().invoke(cli.app, [*given, *asked])

    assert run(tmp_path / "a.png").exit_code == 0
    assert read_label_map((tmp_path / "map.png").read_bytes()).shape == (35, 50)


def test_the_command_writes_a_picture_for_each_image_of_a_folder(
    label_maps: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "open_bundle", lambda folder, execution: label_maps)
    images, out = tmp_path / "images", tmp_path / "new" / "maps"
    images.mkdir()
    for name, body in (("a.PNG", BODY), ("b.jpg", BODY), ("c.png", b"no image")):
        (images / name).write_bytes(body)

    def run(out: Path, *arguments: str) -> Result:
        given = ["segment", "--bundle", "street", "--threads", "1", "--format", "png", *arguments]
        return CliRunner().invoke(cli.app, [*given, "--image", str(images), "--out", str(out)])

    done = run(out, "--resolution", "35")
    assert (done.exit_code, done.stderr.count("skipped ")) == (1, 1)
    assert sorted(file.name for file in out.iterdir()) == ["a.png", "b.png"]
    single = tmp_path / "single.png"
    alone = ["segment", "--bundle", "street", "--threads", "1", "--format", "png", "--resolution", "35"]
    CliRunner().invoke(cli.app, [*alone, "--image", str(images / "b.jpg"), "--out", str(single)])
    assert (out / "a.png").read_bytes() == (out / "b.png").read_bytes() == single.read_bytes()

    assert "choose another folder" in run(images).stderr
    (images / "a.tif").write_bytes(BODY)
    refused = run(tmp_path / "never")
    assert (refused.exit_code, (tmp_path / "never").exists()) == (2, False)
    assert "a.PNG and a.tif would both become" in refused.stderr


def test_the_client_reads_label_maps(label_maps: Bundle) -> None:
    with running(label_maps) as address, Client(address) as client:
        wait_for(lambda: get(f"{address}/readyz").is_success)
        labels = client.label_map(BODY, resolution=140)
        assert labels.shape == (140, 200) and labels.max() < 3
        with pytest.raises(Refused, match="score"):
            client.label_map(BODY, score=0.1)
