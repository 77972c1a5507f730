"""The table of formats: every format encodes what it says, and every reader of the table knows it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter
from typer.testing import CliRunner

import service.cli.commands as cli
from model.config.categories import Category
from model.masks import rle
from model.masks.palette import VOID, default_palette
from model.masks.paste import pasting
from model.masks.runs import Check, Runs, pasted
from service.http.schemas.answers import CocoResult, LabelAnswer, SegmentAnswer
from service.http.schemas.tools import CvatShape, LabelStudioPrediction, PipelineMask
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import DEFAULT, FORMATS, names

CATEGORIES = (Category(4, "ground"), Category(0, "disc"), Category(2, "bar"))
LABELS = np.array([[0, 0, 2], [0, 2, 2], [VOID, 2, 2], [1, 1, 0]], np.uint8)
STAGES = {"decode": 0.1, "queue": 0.2, "coarse": 0.3, "refine": 0.4}
SHAPES = TypeAdapter(
    SegmentAnswer
    | LabelAnswer
    | list[CocoResult]
    | list[CvatShape]
    | list[PipelineMask]
    | LabelStudioPrediction
)


class StubMask:
    """A mask of the left column."""

    category, score, side, points, truncated, explanation = 1, 0.9, 28, None, False, None
    box = np.array([0, 0, 1, 4], np.float32)
    logits = torch.ones(4, 4)

    def runs(self, width: int, height: int, check: Check, most: int) -> Runs:
        return pasted(pasting(np.ones((4, 4), np.float32), self.box, width, height), check, most)


class StubMap:
    """A label map of the size of its image, but twice as large if it is a picture."""

    side, points, truncated, asked = 4, 784, False, (8, 6)

    def labels(self, height: int, width: int) -> NDArray[np.uint8]:
        return LABELS.repeat(height // 4, 0).repeat(width // 3, 1)

    def bands(self, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
        labels = self.labels(height, width)
        return (labels[start : start + 3] for start in range(0, height, 3))


RESULTS: dict[str, Any] = {"instance": SimpleNamespace(masks=(StubMask(), StubMask())), "semantic": StubMap()}


def found(task: str) -> Found:
    return Found(
        request_id="7",
        model="stub",
        task=task,
        categories=CATEGORIES,
        palette=default_palette(3),
        width=3,
        height=4,
        result=RESULTS[task],
        image_id=5,
        pixels=np.zeros((4, 3, 3), np.uint8),
    )


@pytest.mark.parametrize(("name", "task"), [(n, task) for n, each in FORMATS.items() for task in each.tasks])
def test_every_format_encodes_every_task_that_it_names(name: str, task: str) -> None:
    format = FORMATS[name]
    answer = encode(found(task), format, STAGES, started=0.0)
    assert answer.media_type == format.media_type
    assert list(answer.seconds) == [*STAGES, "encode", "total"]
    if not format.is_json:
        assert answer.body == answer.payload
        return
    assert json.loads(answer.body) == json.loads(json.dumps(answer.payload))
    SHAPES.validate_json(answer.body)  # what OpenAPI says
    if format.enveloped:
        payload: Any = answer.payload
        assert (payload["id"], payload["model"], payload["width"], payload["height"]) == ("7", "stub", 3, 4)
        assert payload["timings_ms"]["queue"] == 200


def test_segments_are_the_pixels_of_their_classes() -> None:
    payload: Any = encode(found("semantic"), FORMATS["rle"], STAGES, 0.0).payload
    assert (payload["resolution"], payload["points"], payload["truncated"]) == (4, 784, False)
    seen = [(each["category_id"], each["category"], each["area"]) for each in payload["segments"]]
    assert seen == [(4, "ground", 4), (0, "disc", 2), (2, "bar", 5)]  # none for what was not asked for
    for label, each in enumerate(payload["segments"]):
        counts = rle.decompress(each["segmentation"]["counts"])
        np.testing.assert_array_equal(rle.decode(counts, 3, 4), label == LABELS)


def test_a_picture_has_the_size_that_was_asked_for() -> None:
    body = encode(found("semantic"), FORMATS["png"], STAGES, 0.0).body
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.mode == "P"
        assert (
            picture.getpalette() == [*(part for colour in default_palette(3) for part in colour)] + [0] * 759
        )
        np.testing.assert_array_equal(np.array(picture), StubMap().labels(8, 6))


def test_coco_results_carry_the_image_s_id() -> None:
    payload: Any = encode(found("instance"), FORMATS["coco"], STAGES, 0.0).payload
    assert [(each["image_id"], each["category_id"]) for each in payload] == [(5, 0), (5, 0)]


@pytest.mark.parametrize("name", names("instance"))
def test_nothing_is_encoded_for_nobody(name: str) -> None:
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(CancelledError):
        encode(found("instance"), FORMATS[name], STAGES, 0.0, abandoned)


def test_command_line_and_openapi_know_all_formats(client: TestClient) -> None:
    help_text = CliRunner().invoke(cli.app, ["segment", "--help"]).output
    operation = client.get("/openapi.json").json()["paths"]["/segment"]["post"]
    (parameter,) = (each for each in operation["parameters"] if each["name"] == "format")
    assert parameter["schema"]["enum"] == list(FORMATS)
    assert parameter["schema"]["default"] == DEFAULT
    for name, format in FORMATS.items():
        assert name in help_text
        assert f"`{name}`: {format.description}" in parameter["description"]
        assert format.media_type in operation["responses"]["200"]["content"]
