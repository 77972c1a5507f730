"""Ground truth is checked before C++ code measures with it: it hung, or failed with a message about casts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from model.data.fields import DataError
from model.evaluation.coco_ap import average_precision
from model.evaluation.coco_results import read_results
from model.evaluation.coco_truth import read_truth
from tests.model.coco_files import annotation, bitmap, coco, compressed, rectangle, uncompressed, write
from tests.model.command import run

PLACE = (10, 20, 30, 25)
BOX = [10.0, 20, 30, 25]
RESULT = {
    "image_id": 1,
    "category_id": 3,
    "bbox": BOX,
    "score": 0.9,
    "segmentation": compressed(bitmap(*PLACE)),
}


def file_of(folder: Path, *annotations: dict[str, Any], **more: Any) -> Path:
    return write(folder, coco(list(annotations), **more), pictures=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"segmentation": {"size": [60, 80], "counts": [100, 50]}}, "RLE counts cover 150 pixels of 4800"),
        ({"segmentation": {"size": [60, 80], "counts": "0"}}, "RLE counts cover 0 pixels of 4800"),
        (
            {"segmentation": {"size": [60, 80], "counts": [-100, 4900]}},
            "RLE counts must not be negative, got -100",
        ),
        ({"segmentation": {"size": [80, 60], "counts": [4800]}}, "RLE is of size [80, 60], the image of"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "polygon must be a list of finite numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, None]]}, "polygon must be a list of finite numbers"),
        ({"segmentation": [[0, 0, 1e12, 0, 5, 5]]}, "far outside of the image of 80×60"),
        ({"segmentation": "abc"}, "segmentation must be a list of polygons or an RLE"),
        ({"iscrowd": 3}, "'iscrowd' must be 0 or 1, got 3"),
        ({"category_id": 9}, "category 9 is not in the list"),
        ({"area": "large"}, "'area' must be a finite number, got large"),
        ({"bbox": [1, 2, 3]}, "box must be 4 finite numbers, got [1, 2, 3]"),
    ],
)
def test_what_cannot_be_measured_with_is_named_in_one_line(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    file = file_of(tmp_path, annotation(41, 1, BOX), annotation(42, 1, BOX) | change)
    results = tmp_path / "results.json"
    results.write_text(json.dumps([RESULT]))
    found = run("evaluate", "--data", file, "--results", results).error
    assert found.startswith(f"error: {file}: annotation 42: ") and says in found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 0}, "image 1 1.png: size 0×60 is not that of an image"),
        ({"width": 10**9, "height": 10**9}, "is not that of an image"),
        ({"id": 2}, "image 2 1.png: id 2 is there twice"),
        ({"height": "high"}, "image 1 1.png: 'height' must be a whole number, got 'high'"),
    ],
)
def test_images_of_the_truth_are_checked(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    data = coco([])
    data["images"] = [data["images"][1], data["images"][0] | change]
    with pytest.raises(DataError) as raised:
        read_truth(write(tmp_path, data, pictures=False))
    assert says in str(raised.value)


def test_truth_as_tools_write_it_measures_the_same(tmp_path: Path) -> None:
    """Ids as text, null for no crowd, lines among the polygons, no box: average precision is that of the plain file."""
    plain = annotation(1, 1, BOX, segmentation=rectangle(*PLACE))
    odd = plain | {
        "id": "1",
        "image_id": 1.0,
        "category_id": "3",
        "iscrowd": None,
        "area": None,
        "bbox": None,
        "segmentation": [[], *rectangle(*PLACE), [1, 2, 3, 4]],
        "attributes": {"occluded": False},
    }
    data = coco([odd])
    data["images"][0] |= {"id": "1", "height": 60.0}
    file = write(tmp_path / "odd", data, pictures=False)
    results = tmp_path / "results.json"
    results.write_text(json.dumps([RESULT | {"image_id": "1", "category_id": 3.0}]))
    given = average_precision(file, read_results(results).entries)
    expected = average_precision(file_of(tmp_path / "plain", plain), [RESULT])
    assert given["mask/AP"] == expected["mask/AP"] == pytest.approx(1)
    assert {k: v for k, v in given.items() if v == v} == {k: v for k, v in expected.items() if v == v}
    results.write_text(json.dumps({"results": [], "image_ids": ["1", 2.0], "category_ids": None}))
    assert read_results(results).image_ids == [1, 2]


@pytest.mark.parametrize("segmentation", [[], [[]], [[1, 2, 3, 4]], compressed(bitmap(0, 0, 0, 0)), None])
def test_a_mask_without_a_pixel_is_none(segmentation: Any, tmp_path: Path) -> None:
    """Its image counts for boxes only, as one does whose annotations have boxes only; it is no miss."""
    other = annotation(2, 2, BOX, segmentation=rectangle(*PLACE))
    file = file_of(tmp_path, annotation(1, 1, BOX, segmentation=segmentation), other)
    metrics = average_precision(file, [RESULT, RESULT | {"image_id": 2}])
    assert metrics["box/AP"] == metrics["mask/AP"] == pytest.approx(1)


def test_annotations_of_images_that_are_not_listed_are_left_out(tmp_path: Path) -> None:
    file = file_of(tmp_path, annotation(1, 9, BOX), annotation(2, 1, BOX))
    assert [a["image_id"] for a in read_truth(file).annotations] == [1]


def test_ids_may_be_large_or_negative(tmp_path: Path) -> None:
    big, small = 2**62 + 1, -5
    data = coco([annotation(1, big, BOX, category_id=small, segmentation=rectangle(*PLACE))], images=1)
    data["images"][0]["id"] = big
    data["categories"] = [{"id": small, "name": "dog"}]
    result = RESULT | {"image_id": big, "category_id": small}
    assert average_precision(write(tmp_path, data, pictures=False), [result])["mask/AP"] == pytest.approx(1)


def test_nothing_but_crowds_cannot_be_measured(tmp_path: Path) -> None:
    crowd = annotation(1, 1, BOX, iscrowd=1, segmentation=uncompressed(bitmap(*PLACE)))
    file, results = file_of(tmp_path, crowd), tmp_path / "results.json"
    results.write_text("[]")
    found = run("evaluate", "--data", file, "--results", results).error
    assert found.startswith(f"error: {file}: there is nothing to measure, all annotations are crowds (1); ")
    assert math.isnan(average_precision(file_of(tmp_path / "empty"), [])["box/AP"])
