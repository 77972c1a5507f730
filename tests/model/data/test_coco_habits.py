"""Habits of the tools that write COCO files: what is no mistake is read, and what is left out is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from model.config.categories import Category
from model.data.augment import Augmentation
from model.data.coco import load_coco
from model.data.coco_categories import as_one_class, without_unused
from model.data.fields import DataError, flag, integer, read_json, whole, whole_numbers
from model.data.instance_samples import InstanceTrainingSet
from tests.model.coco_files import annotation, bitmap, coco, load, rectangle, uncompressed, write

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

BOX = [10.0, 20, 30, 25]
SQUARE = rectangle(10, 20, 30, 25)


def test_whole_numbers_as_tools_write_them() -> None:
    for given in (7, 7.0, "7", "007"):
        assert whole(given) == 7
    assert (whole("-3"), whole(-3.0), whole(2**63 - 1)) == (-3, -3, 2**63 - 1)
    others: list[object] = [
        True,
        7.5,
        "7.0",
        " 7",
        "",
        "seven",
        "٧",
        None,
        [7],
        2**63,
        1e300,
        float("inf"),
        "9" * 5000,
    ]
    for other in others:
        assert whole(other) is None
    assert whole_numbers([1, "2", 3.0]) == [1, 2, 3]
    assert whole_numbers([1, None]) is None and whole_numbers("12") is None
    assert integer({"id": "12"}, "id") == 12
    with pytest.raises(DataError, match="'id' must be a whole number, got '1.5'"):
        integer({"id": "1.5"}, "id")


def test_flags_as_tools_write_them() -> None:
    for given, meant in (
        (0, False),
        (1, True),
        (1.0, True),
        ("0", False),
        ("1", True),
        (None, False),
        (True, True),
    ):
        assert flag({"iscrowd": given}, "iscrowd") is meant
    assert flag({}, "iscrowd") is False


def test_ids_are_read_alike_in_every_list(tmp_path: Path) -> None:
    data = coco([annotation(1, 1, BOX, segmentation=SQUARE)], images=1)
    file = write(tmp_path, data)
    data["images"][0] |= {"id": "1", "width": 80.0, "height": "60"}
    data["categories"] = [{"id": "3", "name": "dog"}, {"id": 7.0, "name": "cat"}]
    data["annotations"][0] |= {"id": "5", "image_id": 1.0, "category_id": "3"}
    file.write_text(json.dumps(data))
    found = load_coco(file, tmp_path)
    assert found.categories == (Category(3, "dog"), Category(7, "cat"))
    (record,) = found.records
    assert (record.image_id, record.width, record.height) == (1, 80, 60)
    assert [(a.id, a.category) for a in record.annotations] == [(5, 0)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_of_json_and_its_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    file = write(tmp_path, coco([annotation(1, 1, BOX)]))
    file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=False), encoding=encoding)
    assert len(load_coco(file, tmp_path).records[0].annotations) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "a.json: cannot be read as JSON: Expecting property name"),
        (b"\xff\x80 {}", "a.json: cannot be read as JSON: it is not text in UTF-8"),
        (b"[" * 100_000, "a.json: cannot be read as JSON: it is nested too deeply"),
    ],
)
def test_what_is_no_json_is_said_in_words(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_json(tmp_path / "a.json")
    assert says in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(DataError) as raised:
        read_json(tmp_path / "b.json")
    assert str(raised.value) == f"{tmp_path / 'b.json'} cannot be read: no such file or directory"


def test_names_of_files_that_windows_wrote(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "images/1.png")
    Image.new("RGB", (80, 60)).save(tmp_path / "odd\\name.png")
    data = coco([annotation(1, 1, BOX)])
    for entry, name in zip(data["images"], ("images\\1.png", "odd\\name.png"), strict=True):
        entry["file_name"] = name
    found = load_coco(write(tmp_path, data, pictures=False), tmp_path)
    assert [r.path for r in found.records] == [tmp_path / "images/1.png", tmp_path / "odd\\name.png"]
    (tmp_path / "images/1.png").unlink()
    (tmp_path / "odd\\name.png").unlink()
    with pytest.raises(DataError, match=r"the first would be .*images/1\.png"):
        load_coco(tmp_path / "annotations.json", tmp_path)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "\ud800.png", "folder"])
def test_names_that_no_file_has(name: str, tmp_path: Path) -> None:
    file = write(tmp_path, coco([]))
    (tmp_path / "folder").mkdir()
    data = coco([])
    data["images"][0]["file_name"] = name
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"image 1 .*(no file|must be a text)"):
        load_coco(file, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [10**400, 2, 3, 4]},
        {"segmentation": [[10**400, 2, 3, 4, 5, 6]]},
    ],
)
def test_numbers_that_no_float_can_hold(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="finite numbers"):
        load(tmp_path, coco([annotation(1, 1, BOX) | change]))


def test_run_lengths_of_nothing_are_empty_however_they_are_split(tmp_path: Path) -> None:
    nothing = {"size": [60, 80], "counts": [0] * 5000 + [4800]}
    data = load(tmp_path, coco([annotation(1, 1, BOX, segmentation=nothing)]))
    assert not data.records[0].annotations and data.records[0].left_out == 1


def test_boxes_whose_edges_are_one_number_in_single_precision_are_left_out(tmp_path: Path) -> None:
    """Tools that subtract floats write such widths. No mask can be drawn in such a box."""
    data = load(tmp_path, coco([annotation(1, 1, [70.0, 20, 1e-6, 20])]))
    assert not data.records[0].annotations and data.records[0].left_out == 1


def test_polygons_without_an_area_are_left_out_and_counted(tmp_path: Path) -> None:
    line = [1.0, 2, 3, 4]
    data = load(
        tmp_path,
        coco(
            [
                annotation(1, 1, BOX, segmentation=[*SQUARE, [], line]),
                annotation(2, 1, BOX, segmentation=[[]]),
                annotation(3, 2, BOX, segmentation=[line]),
                annotation(4, 2, BOX, segmentation=SQUARE),
            ]
        ),
    )
    first, second = data.records
    whole_one, without = first.annotations
    assert isinstance(whole_one.shape, tuple) and len(whole_one.shape) == 1
    assert without.shape is None and [a.shape is None for a in second.annotations] == [True, False]
    assert data.remarks == (
        "annotations.json: 4 polygons of fewer than 3 points are left out, of annotations 1, 2, 3",
    )
    (remark,) = load(tmp_path / "b", coco([annotation(9, 1, BOX, segmentation=[line])])).remarks
    assert remark.endswith(" 1 polygon of fewer than 3 points is left out, of annotation 9")


def test_run_lengths_with_points_in_them(tmp_path: Path) -> None:
    rle = uncompressed(bitmap(10, 20, 30, 25))
    rle = {"size": [60.0, "80"], "counts": [float(n) for n in rle["counts"]]}
    (instance,) = load(tmp_path, coco([annotation(1, 1, BOX, segmentation=rle)])).records[0].annotations
    assert (rle_codec.decode(instance.shape) == bitmap(10, 20, 30, 25)).all()


@pytest.mark.parametrize("box", [None, []])
def test_a_mask_without_a_box_has_its_own(box: Any, tmp_path: Path) -> None:
    entry = annotation(1, 1, BOX, segmentation=SQUARE) | {"bbox": box}
    absent = annotation(2, 1, BOX, segmentation=uncompressed(bitmap(10, 20, 30, 25)))
    del absent["bbox"]
    data = load(tmp_path, coco([entry, absent]))
    assert [a.box for a in data.records[0].annotations] == [(10, 20, 40, 45)] * 2 and not data.remarks


def test_a_parent_category_of_the_same_name_is_left_out(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "dog"}, {"id": 3, "name": "dog"}]
    data = load(tmp_path / "a", coco([annotation(1, 1, BOX)], categories=categories))
    assert data.categories == (Category(3, "dog"),) and data.records[0].annotations[0].category == 0
    assert data.remarks == (
        "annotations.json: category 0 dog is left out: nothing uses it, and 3 has the same name",
    )
    nothing = load(tmp_path / "b", coco([], categories=categories))
    assert nothing.categories == (Category(3, "dog"),) and nothing.unused == {Category(3, "dog")}


def test_categories_that_no_file_uses_are_left_out(tmp_path: Path) -> None:
    pets, cat, dog, cow = Category(0, "pets"), Category(3, "cat"), Category(5, "dog"), Category(8, "cow")
    listed = [{"id": c.id, "name": c.name} for c in (cow, dog, cat, pets)]
    one = load(tmp_path / "a", coco([annotation(1, 1, BOX, category_id=5)], categories=listed))
    crowd = annotation(1, 1, BOX, category_id=8, iscrowd=1)
    two = load(tmp_path / "b", coco([crowd, annotation(2, 1, BOX, category_id=5)], categories=listed[:3]))
    assert one.unused == {pets, cat, cow} and two.unused == {cat}

    (first, second), dropped = without_unused([one, two])
    assert dropped == (pets, cat)
    assert first.categories == second.categories == (dog, cow)
    assert [d.records[0].annotations[0].category for d in (first, second)] == [0, 0]
    assert first.remarks == ("categories that no annotation uses are left out: pets (id 0), cat (id 3)",)
    assert not second.remarks and first.unused == {cow}
    assert InstanceTrainingSet([first, second], Augmentation()).categories == (dog, cow)

    (same,), dropped = without_unused([first])
    assert dropped == (cow,) and same.categories == (dog,)
    nothing = load(tmp_path / "c", coco([], categories=listed))
    assert without_unused([nothing]) == ([nothing], ())


def test_masks_that_are_all_called_crowds_are_named(tmp_path: Path) -> None:
    painted = [
        annotation(i, 1, BOX, iscrowd=1, segmentation=uncompressed(bitmap(10, 20, 30, 25))) for i in (1, 2)
    ]
    data = load(tmp_path, coco(painted))
    with pytest.raises(DataError) as raised:
        InstanceTrainingSet([data], Augmentation())
    assert str(raised.value).startswith(
        "nothing to train on, not one instance in 2 images: all annotations are crowds (2); "
        'where each is one object, it needs "iscrowd": 0'
    )
    flat = load(tmp_path / "flat", coco([*painted, annotation(3, 1, [1, 1, 0, 5])]))
    with pytest.raises(DataError, match="2 of 3 annotations are crowds, the others have no area"):
        InstanceTrainingSet([flat], Augmentation())


def test_all_categories_may_become_one(tmp_path: Path) -> None:
    annotations = [
        annotation(1, 1, BOX, segmentation=SQUARE, category_id=7),
        annotation(2, 1, BOX, segmentation=SQUARE, category_id=3),
        annotation(3, 2, BOX, iscrowd=1),
    ]
    data = as_one_class(load(tmp_path, coco(annotations)), "object")
    assert data.categories == (Category(1, "object"),) and not data.unused
    assert [a.category for record in data.records for a in record.annotations] == [0, 0]
    assert data.records[1].num_crowds == 1
