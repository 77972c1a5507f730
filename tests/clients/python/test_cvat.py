"""CVAT's automatic annotation, by cvat-sdk: its driver checks what comes, and its decoder reads it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.bundle import Bundle
from pointrend_client import Client, ClientError
from tests.service.support import Discs, disc_bundle, get, picture, running, wait_for

annotation = pytest.importorskip("cvat_sdk.auto_annotation", reason="cvat-sdk is not installed")
sdk = importlib.import_module("cvat_sdk")
masks = importlib.import_module("cvat_sdk.masks")
driver = importlib.import_module("cvat_sdk.auto_annotation.driver")
cvat = importlib.import_module("pointrend_client.cvat")
FRAMES = (Image.fromarray(picture()), Image.fromarray(picture(90, 70, 160)))
TASK = 7


@pytest.fixture(scope="module")
def url(label_maps: Bundle) -> Iterator[str]:
    discs = Discs()
    discs.gate.set()
    with running(disc_bundle(discs), label_maps, api_keys="key") as address:
        wait_for(lambda: get(f"{address}/readyz").is_success)
        yield address


class Task:
    """What the driver reads of a task: labels with ids of their own, and frames."""

    def __init__(self, *names: str) -> None:
        self.labels = [
            SimpleNamespace(name=name, id=100 + number, type="any", sublabels=[], attributes=[])
            for number, name in enumerate(names)
        ]
        self.samples = [
            SimpleNamespace(
                frame_name=f"{n}.png", frame_index=n, media=SimpleNamespace(load_image=frame.copy)
            )
            for n, frame in enumerate(FRAMES)
        ]


class Server:
    """What the driver sends to CVAT."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("cvat")
        self.tasks = SimpleNamespace(api=self)
        self.sent: list[Any] = []

    def partial_update_annotations(
        self, action: str, task: int, *, patched_labeled_data_request: Any
    ) -> None:
        assert (action, task) == ("create", TASK)
        self.sent += patched_labeled_data_request.shapes


def annotated(monkeypatch: pytest.MonkeyPatch, function: Any, task: Task, **options: Any) -> list[Any]:
    monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: task)
    server = Server()
    annotation.annotate_task(server, TASK, function, **options)
    return server.sent


def test_masks_are_those_of_the_service(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = cvat.create(url=url, api_key="key", score=0.2)
    shapes = annotated(monkeypatch, function, Task("ring", "disc"))
    with Client(url, api_key="key") as client:
        found = [client.segment(frame, score=0.2) for frame in FRAMES]
    ids = {"ring": 100, "disc": 101}
    expected = [(frame, each) for frame, answer in enumerate(found) for each in answer.instances]
    assert [(shape.frame, shape.label_id, shape.score) for shape in shapes] == [
        (frame, ids[each.category], each.score) for frame, each in expected
    ]
    for shape, (_, each) in zip(shapes, expected, strict=True):
        assert (str(shape.type), shape.source) == ("mask", "auto")
        height, width = each.size
        decoded = masks.decode_mask(shape.points, image_width=width, image_height=height)
        np.testing.assert_array_equal(decoded, each.mask)


def test_cvat_s_threshold_is_the_least_score(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = cvat.create(url=url, api_key="key", score=0.2)
    shapes = annotated(monkeypatch, function, Task("ring", "disc"), conf_threshold=0.7)
    assert {shape.label_id for shape in shapes} == {101} and len(shapes) == 2


def test_polygons_where_cvat_wants_them(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = cvat.create(url=url, api_key="key", resolution=28)
    shapes = annotated(monkeypatch, function, Task("ring", "disc"), conv_mask_to_poly=True)
    with Client(url, api_key="key") as client:
        answers = [client.post(frame, format="polygon", resolution=28).json() for frame in FRAMES]
    parts = [part for answer in answers for each in answer["instances"] for part in each["segmentation"]]
    assert [shape.points for shape in shapes] == parts
    assert {str(shape.type) for shape in shapes} == {"polygon"}


def test_parts_of_one_instance_are_a_group(url: str) -> None:
    function = cvat.create(url=url, api_key="key")
    parts = [[0.0, 0.0, 1.0, 0.0, 1.0, 1.0], [5.0, 0.0, 6.0, 0.0, 6.0, 1.0]]
    entries = [{"category": "disc", "segmentation": parts[:count], "score": 0.5} for count in (1, 2)]
    shapes = list(function._polygons({"instances": entries}))
    assert [getattr(shape, "group", None) for shape in shapes] == [None, 2, 2]


def test_labels_are_the_classes_that_are_asked_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [label.name for label in cvat.create(url=url, api_key="key").spec.labels]
    assert names == ["disc", "ring"]
    one = cvat.create(url=url, api_key="key", classes="ring")
    assert [label.name for label in one.spec.labels] == ["ring"]
    assert len(annotated(monkeypatch, one, Task("ring"))) == 2
    with pytest.raises(annotation.BadFunctionError, match="'disc' is not in dataset"):
        annotated(monkeypatch, cvat.create(url=url, api_key="key"), Task("ring"))


def test_a_semantic_model_gives_a_mask_for_each_class(
    url: str, label_maps: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = cvat.create(url=url, api_key="key", model=label_maps.manifest.name)
    names = [category.name for category in label_maps.manifest.categories]
    shapes = annotated(monkeypatch, function, Task(*names), conf_threshold=0.5)
    assert shapes and {str(shape.type) for shape in shapes} == {"mask"}
    with pytest.raises(ClientError, match="only instance models give polygons"):
        annotated(monkeypatch, function, Task(*names), conv_mask_to_poly=True)


def test_a_model_that_is_not_there(url: str) -> None:
    with pytest.raises(ClientError, match="no model 'cats'; it has discs"):
        cvat.create(url=url, api_key="key", model="cats")
