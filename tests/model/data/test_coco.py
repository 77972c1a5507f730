"""Reading COCO files: what is understood, what is left out, and what the errors say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from model.config.categories import CITYSCAPES, COCO, Category, numbered
from model.data.coco import load_coco
from model.data.fields import DataError
from tests.model.coco_files import annotation, bitmap, coco, compressed, load, rectangle, uncompressed, write

ENDLESS = compressed(bitmap(10, 20, 30, 25))["counts"] + "P"  # ends within a number
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools


def test_categories_are_the_data_sets_own() -> None:
    assert len(COCO) == 80
    assert (COCO[0], COCO[79]) == (Category(1, "person"), Category(90, "toothbrush"))
    assert Category(13, "stop sign") in COCO and Category(67, "dining table") in COCO
    assert [c.id for c in CITYSCAPES] == [24, 25, 26, 27, 28, 31, 32, 33]
    assert numbered(2) == (Category(1, "class_1"), Category(2, "class_2"))


def test_reads_every_kind_of_segmentation(tmp_path: Path) -> None:
    mask = bitmap(10, 20, 30, 25)
    box = [10.0, 20, 30, 25]
    data = load(
        tmp_path,
        coco(
            [
                annotation(1, 1, box, segmentation=rectangle(10, 20, 30, 25)),
                annotation(2, 1, box, segmentation=compressed(mask), category_id=7),
                annotation(3, 1, box, segmentation=uncompressed(mask)),
                annotation(4, 2, box),
                annotation(5, 2, box, segmentation=[]),
            ]
        ),
    )
    assert data.categories == (Category(3, "dog"), Category(7, "cat"))
    first, second = data.records
    assert (first.image_id, first.width, first.height, first.has_masks) == (1, 80, 60, True)
    assert [a.category for a in first.annotations] == [0, 1, 0]
    assert first.annotations[0].box == (10, 20, 40, 45)
    polygons, packed, unpacked = (a.shape for a in first.annotations)
    assert isinstance(polygons, tuple) and polygons[0].tolist() == [[10, 20], [40, 20], [40, 45], [10, 45]]
    for rle in (packed, unpacked):
        assert (rle_codec.decode(rle) == mask).all()
    assert not second.has_masks and [a.shape for a in second.annotations] == [None, None]


def test_leaves_out_crowds_and_what_has_no_area(tmp_path: Path) -> None:
    box = [10.0, 20, 30, 25]
    data = load(
        tmp_path,
        coco(
            [
                annotation(1, 1, box, iscrowd=1, segmentation=uncompressed(bitmap(0, 0, 80, 60))),
                annotation(2, 1, [5, 5, 20, 0]),
                annotation(3, 1, [80.5, 5, 0.2, 9]),
                annotation(4, 1, [-3, -4, 10, 10], segmentation=rectangle(-3, -4, 10, 10), iscrowd=None),
                annotation(5, 1, box, segmentation=compressed(bitmap(0, 0, 0, 0))),
            ]
        ),
    )
    assert [a.id for a in data.records[0].annotations] == [4]
    assert data.records[0].annotations[0].box == (0, 0, 7, 6)
    assert data.records[1].annotations == () and data.records[1].has_masks
    assert [record.left_out for record in data.records] == [4, 0]
    assert [record.crowds for record in data.records] == [((10, 20, 40, 45),), ()]


_BOX = [10.0, 20, 30, 25]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bbox": [1, 2, 3]}, "box must be 4 finite numbers, got [1, 2, 3]"),
        ({"bbox": [1, 2, 3, float("nan")]}, "box must be 4 finite numbers"),
        ({"bbox": [1, 2, -3, 4]}, "box size -3×4 is not positive"),
        ({"bbox": [90, 2, 3, 4]}, "lies outside of the image of 80×60"),
        ({"category_id": 5}, "category 5 is unknown, there are 3, 7"),
        ({"category_id": "dog"}, "'category_id' must be a whole number, got 'dog'"),
        ({"category_id": 3.5}, "'category_id' must be a whole number, got 3.5"),
        ({"category_id": True}, "'category_id' must be a whole number, got True"),
        ({"category_id": 2**63}, "'category_id' must be a whole number, got 9223372036854775808"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "even number of numbers, got 5"),
        ({"bbox": None}, "box must be 4 finite numbers, got None"),
        ({"segmentation": [[1, 2, 3, 4, 5, None]]}, "list of finite numbers"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "list of finite numbers, [x0, y0, x1, y1, …], got 1"),
        ({"segmentation": [[[1, 2], [3, 4], [5, 6]]]}, "finite numbers, [x0, y0, x1, y1, …], got [[1, 2]"),
        ({"segmentation": [[10, 20, 40, 20, 1e12, 45]]}, "a point at (1e+12, 45), far outside of the image"),
        (
            {"segmentation": rectangle(60, 2, 10, 10)},
            "spans x 60–70, y 2–12, which is not in its box [10, 20, 30, 25]",
        ),
        ({"segmentation": compressed(bitmap(60, 2, 10, 10))}, "spans x 60–70, y 2–12"),
        ({"segmentation": "abc"}, "segmentation must be a list of polygons or an RLE, got 'abc'"),
        ({"iscrowd": "no"}, "'iscrowd' must be 0 or 1, got 'no'"),
        ({"iscrowd": 2}, "'iscrowd' must be 0 or 1, got 2"),
        ({"segmentation": {"size": [60, 80]}}, "no 'counts'"),
        ({"segmentation": compressed(bitmap(0, 0, 5, 5, (80, 60)))}, "RLE is of size [80, 60]"),
        ({"segmentation": {"size": [60, 80], "counts": [10, 5]}}, "cover 15 pixels of 4800"),
        ({"segmentation": {"size": [60, 80], "counts": "abc"}}, "RLE counts"),
        ({"segmentation": {"size": [60, 80], "counts": "\u00e9"}}, "not a compressed run-length encoding"),
        ({"segmentation": {"size": [60, 80], "counts": ""}}, "not a compressed run-length encoding"),
        ({"segmentation": {"size": [60, 80], "counts": ENDLESS}}, "not a compressed run-length encoding"),
    ],
)
def test_a_bad_annotation_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    file = write(tmp_path, coco([annotation(1, 2, _BOX), annotation(42, 2, _BOX) | change]))
    with pytest.raises(DataError) as raised:
        load_coco(file, tmp_path)
    message = str(raised.value)
    assert str(file) in message and "annotation 42 of image 2 (2.png)" in message and says in message


def test_missing_keys_duplicates_and_unknown_images(tmp_path: Path) -> None:
    data = coco(
        [annotation(1, 1, _BOX), annotation(1, 1, _BOX), annotation(2, 9, _BOX), annotation(3, 1, _BOX)]
    )
    del data["annotations"][3]["bbox"]
    again = [dict(data["images"][0]), dict(data["images"][1]) | {"id": 3}]
    unnamed = {"id": 6, "file_name": "", "width": 8, "height": 5}
    data["images"] += [*again, {"id": 4, "file_name": "4.png", "width": 0, "height": 5}, 5, unnamed]
    file = write(tmp_path, data | {"images": data["images"][:3]})
    file.write_text(json.dumps(data))
    with pytest.raises(DataError) as raised:
        load_coco(file, tmp_path)
    message = str(raised.value)
    assert "8 problems" in message
    for says in (
        f"image 3 2.png: file '{tmp_path / '2.png'}' is there twice",
        "image 6 : 'file_name' must be a text that is not empty, got ''",
        "image 1 1.png: id 1 is there twice",
        "image 4 4.png: size 0×5 is not positive",
        "image 5: no 'file_name'",
        "annotation 1: id 1 is there twice",
        "annotation 2: image 9 is not in the list",
        "annotation 3 of image 1 (1.png): no 'bbox'",
    ):
        assert says in message


def test_reports_at_most_ten_problems_and_how_many_more(tmp_path: Path) -> None:
    file = write(tmp_path, coco([annotation(i, 1, [0, 0, -9, 9]) for i in range(14)]))
    with pytest.raises(DataError) as raised:
        load_coco(file, tmp_path)
    lines = str(raised.value).splitlines()
    assert "14 problems" in lines[0] and len(lines) == 12 and "4 more" in lines[-1]


def test_missing_picture(tmp_path: Path) -> None:
    file = write(tmp_path, coco([]))
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"image 2 2\.png: no file .*2\.png"):
        load_coco(file, tmp_path)


def test_the_annotations_of_a_missing_picture_are_no_problem_of_their_own(tmp_path: Path) -> None:
    file = write(tmp_path, coco([annotation(i, 2, _BOX) for i in range(5)]))
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError) as raised:
        load_coco(file, tmp_path)
    first, *rest = str(raised.value).splitlines()
    assert first.endswith(": 1 problem") and len(rest) == 1 and "no file" in rest[0]


def test_pictures_that_cannot_be_read_or_are_of_another_size_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, coco([], images=4))
    (tmp_path / "1.png").write_bytes(b"nothing")
    (tmp_path / "2.png").write_bytes((tmp_path / "3.png").read_bytes()[:20])
    Image.new("RGB", (60, 80)).save(tmp_path / "4.png")
    with pytest.raises(DataError) as raised:
        load_coco(file, tmp_path)
    first, *rest = str(raised.value).splitlines()
    assert "3 problems" in first
    assert all(f"image {i} {i}.png: " in line for i, line in zip((1, 2, 4), rest, strict=True))
    assert "1.png cannot be read" in rest[0] and "2.png cannot be read" in rest[1]
    assert rest[2].endswith("4.png is 60×80, annotated as 80×60")


def test_the_size_is_the_displayed_one(tmp_path: Path) -> None:
    file = write(tmp_path, coco([], images=2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise for display
    Image.new("RGB", (60, 80)).save(tmp_path / "1.png", "JPEG", exif=exif)
    Image.new("RGB", (60, 80)).save(tmp_path / "2.png", exif=exif)
    assert len(load_coco(file, tmp_path).records) == 2
    Image.new("RGB", (80, 60)).save(tmp_path / "1.png", "JPEG", exif=exif)
    with pytest.raises(DataError, match=r"1\.png is 60×80 as displayed \(its EXIF .*\), annotated as 80×60"):
        load_coco(file, tmp_path)


@pytest.mark.parametrize(
    "boxes",
    [
        [[50, 30, 75, 55], [60, 20, 70, 50]],  # corners
        [[0.5, 0.5, 0.2, 0.3], [0.1, 0.2, 0.4, 0.4]],  # shares of the image
    ],
)
def test_boxes_that_seem_to_mean_something_else_are_doubted(boxes: list[list[float]], tmp_path: Path) -> None:
    fine = [annotation(i, 1, _BOX) for i in range(10, 20)]
    odd = [annotation(i, 1, box) for i, box in enumerate(boxes, 1)]
    (doubt,) = load(tmp_path / "a", coco([*fine, *odd])).remarks
    assert doubt.startswith("annotations.json: 2 of 12 boxes reach beyond their image, ")
    assert f"such as {boxes[0]} of annotation 1; is it [x, y, width, height]" in doubt
    assert not load(tmp_path / "b", coco(fine)).remarks


def test_boxes_that_do_not_fit_their_masks_are_doubted(tmp_path: Path) -> None:
    corners = annotation(1, 1, [10, 10, 40, 40], segmentation=rectangle(10, 10, 30, 30))
    fine = annotation(2, 1, _BOX, segmentation=rectangle(11, 21, 28, 23))
    (doubt,) = load(tmp_path / "a", coco([corners])).remarks
    assert "such as [10, 10, 40, 40] of annotation 1;" in doubt
    assert not load(tmp_path / "b", coco([fine])).remarks


def test_categories_of_the_same_name_are_refused(tmp_path: Path) -> None:
    both = [annotation(i, 1, _BOX, category_id=i) for i in (1, 2)]
    file = write(tmp_path, coco(both, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]))
    with pytest.raises(DataError, match="category 2 cat: name 'cat' is there twice"):
        load_coco(file, tmp_path)


def test_no_categories(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="list of categories is empty"):
        load_coco(write(tmp_path, coco([], categories=[])), tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [], "annotations": {}, "categories": []}', "\x00"]
)
def test_not_a_coco_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        load_coco(file, tmp_path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.json"):
        load_coco(tmp_path / "none.json", tmp_path)


def test_run_lengths_agree_with_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    masks = [(rng.random((60, 80)) < p).astype(np.uint8) for p in (0.01, 0.5, 0.99)]
    masks += [bitmap(0, 0, 80, 60), bitmap(10, 20, 1, 1)]
    data = load(
        tmp_path, coco([annotation(i, 1, _BOX, segmentation=compressed(m)) for i, m in enumerate(masks)])
    )
    for mask, instance in zip(masks, data.records[0].annotations, strict=True):
        assert (rle_codec.decode(instance.shape) == mask).all()
