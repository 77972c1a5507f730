"""Settings of a detector: what is read, and that each fault is one line that says what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from export.detector.run import detector_categories
from export.detector.settings import MOST_BYTES, read_settings
from model.config.categories import COCO, Category
from model.errors import UserError
from tests.export.detector.bright import settings, write_settings
from tests.paths import ROOT


def refused(path: Path) -> str:
    with pytest.raises(UserError) as refusal:
        read_settings(path)
    message = str(refusal.value)
    assert "\n" not in message and message.startswith(str(path))
    return message.removeprefix(str(path))


def test_settings_are_read_with_their_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.name, found.licence) == ("bright", "MIT")
    assert (found.input.resize, found.input.channels, found.input.divide_by) == ("stretch", "RGB", 255.0)
    assert (found.output.box_format, found.output.box_unit) == ("xyxy", "pixels")
    assert found.classes == ("cat", None, "dog") and found.class_names == ("cat", "dog")
    assert (found.score_threshold, found.max_detections) == (0.05, 100)


def test_lists_of_coco_have_names(tmp_path: Path) -> None:
    names = tuple(category.name for category in COCO)
    assert settings(tmp_path, classes="coco80").classes == names
    by_id = settings(tmp_path, classes="coco91")
    assert by_id.class_names == names and len(by_id.classes) == 91
    assert all(by_id.classes[category.id] == category.name for category in COCO)


def test_categories_are_the_detectors_and_the_mask_heads(tmp_path: Path) -> None:
    assert detector_categories(settings(tmp_path), "object") == (
        Category(17, "cat"),
        Category(18, "dog"),
        Category(91, "object"),
    )
    assert detector_categories(settings(tmp_path), "person")[2] == Category(1, "person")
    assert detector_categories(settings(tmp_path, classes=["cat", "weed"]), "object") == (
        Category(1, "cat"),
        Category(2, "weed"),
        Category(3, "object"),
    )
    assert detector_categories(settings(tmp_path, classes="coco80"), "object") == (
        *COCO,
        Category(91, "object"),
    )
    assert detector_categories(settings(tmp_path, classes="coco91"), "person") == COCO


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ...}, ": name: Field required"),
        ({"licence": ""}, ": licence: String should have at least 1 character"),
        ({"colour": 1}, ": colour: Unexpected keyword argument"),
        ({"input": {"image": ...}}, ": input.image: Field required"),
        ({"input": {"height": 16}}, ": input.height: Input should be greater than or equal to 32"),
        ({"input": {"width": 4096}}, ": input.width: Input should be less than or equal to 2048"),
        ({"input": {"width": "64"}}, ": input.width: Input should be a valid integer"),
        ({"input": {"resize": "crop"}}, ": input.resize: Input should be 'stretch' or 'letterbox'"),
        ({"input": {"channels": "RGBA"}}, ": input.channels: Input should be 'RGB' or 'BGR'"),
        ({"input": {"fill": 256}}, ": input.fill: Input should be less than or equal to 255"),
        ({"input": {"std": [1, 0, 1]}}, ": input.std.1: Input should be greater than 0"),
        ({"input": {"divide_by": 0}}, ": input.divide_by: Input should be greater than 0"),
        ({"input": {"mean": [0, 0]}}, ": input.mean.2: Field required"),
        (
            {"output": {"labels": ...}},
            ": output: name boxes, scores and labels, or boxes and logits, or rows alone; got boxes, scores",
        ),
        (
            {"output": {"rows": "r"}},
            ": output: name boxes, scores and labels, or boxes and logits, or rows ",
        ),
        ({"output": {"box_format": "xywh"}}, ": output.box_format: Input should be 'xyxy' or 'cxcywh'"),
        ({"output": {"box_unit": "percent"}}, ": output.box_unit: Input should be 'pixels' or 'unit'"),
        ({"classes": "coco"}, ": classes: must be a list of names, or one of coco80, coco91"),
        ({"classes": []}, ": classes: Tuple should have at least 1 item"),
        ({"classes": [None]}, ": classes: at least one class needs a name"),
        ({"classes": ["a", "b", "a"]}, ": classes: two classes have the name 'a'"),
        ({"classes": ["a,b"]}, ": classes.0: String should match pattern"),
        ({"score_threshold": 1.5}, ": score_threshold: Input should be less than or equal to 1"),
        ({"max_detections": 0}, ": max_detections: Input should be greater than or equal to 1"),
    ],
    ids=str,
)
def test_each_fault_is_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert refused(write_settings(tmp_path, **changes)).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " must be a mapping with name, licence, input, output and classes"),
        ("- a", " must be a mapping with name, licence, input, output and classes"),
        ("a: [", " is no YAML: "),
        ("a: !!python/object:os.system {}", " is no YAML: "),
        ("name: 2020-01-01", ": only text, numbers, lists and mappings are allowed: "),
        ("#" * (MOST_BYTES + 1), f" is larger than {MOST_BYTES} bytes"),
    ],
    ids=["empty", "list", "broken", "object", "date", "large"],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bright.yaml"
    path.write_text(text)
    assert refused(path).startswith(message)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.yaml") == " is no file: it must hold the detector's settings"


def test_the_documented_examples_are_read(tmp_path: Path) -> None:
    text = (ROOT / "docs/detector.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    forms = set()
    for example in examples:
        path = tmp_path / "bright.yaml"
        path.write_text(example)
        forms.add(read_settings(path).output.names)
    assert forms == {("boxes", "scores", "labels"), ("boxes", "logits"), ("rows",)}
