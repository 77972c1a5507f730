"""Label maps: what they mean, and that what is wrong with them is said before anything starts."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.data.fields import DataError
from model.data.images import Pixels
from model.data.label_augment import LabelAugmentation
from model.data.label_map_samples import LabelMapTrainingSet, collate_label_maps
from model.data.label_maps import load_label_maps, read_values, together
from model.data.labelling import read_labelling
from model.data.samplers import Draw
from model.masks.palette import VOID
from tests.model import label_files
from tests.paths import ROOT


def complaint(file: Path, folder: Path) -> str:
    with pytest.raises(DataError) as raised:
        load_label_maps(file, folder)
    return str(raised.value)


def test_pixel_values_become_positions_of_classes(tmp_path: Path) -> None:
    data = label_files.load(tmp_path)
    image, labels = data.read(0)
    raw = np.asarray(Image.open(tmp_path / "labels/0.png"))
    assert image.shape == (64, 96, 3) and labels.dtype == np.uint8
    for value, position in ((4, 0), (0, 1), (2, 2), (9, VOID)):
        np.testing.assert_array_equal(labels == position, raw == value)


def test_palette_images_and_jpegs_are_read(tmp_path: Path) -> None:
    file = label_files.write(tmp_path, count=1)
    labels = Image.open(tmp_path / "labels/0.png")
    labels.putpalette([part for i in range(256) for part in (i, 0, 255 - i)])
    labels.save(tmp_path / "labels/0.png")
    Image.open(tmp_path / "images/0.png").save(tmp_path / "images/0.jpeg")
    (tmp_path / "images/0.png").unlink()
    assert set(np.unique(load_label_maps(file, tmp_path).read(0)[1])) == {0, 1, 2, VOID}


def test_every_problem_names_its_file(tmp_path: Path) -> None:
    file = label_files.write(tmp_path, count=6)
    (tmp_path / "labels/0.png").unlink()
    (tmp_path / "images/1.png").unlink()
    Image.new("L", (96, 60), 4).save(tmp_path / "labels/2.png")
    Image.new("RGB", (96, 64), (4, 0, 4)).save(tmp_path / "labels/3.png")
    Image.new("L", (96, 64), 77).save(tmp_path / "labels/4.png")
    (tmp_path / "labels/5.png").write_bytes(b"no picture")
    lines = [line.strip().removeprefix(str(tmp_path)) for line in complaint(file, tmp_path).splitlines()]
    assert lines[:6] == [
        " cannot be used:",
        "/images/0.png: no label map labels/0.png",
        "/labels/1.png: no image images/1.jpg",
        "/labels/2.png: 96×60, but 2.png is 96×64",
        "/labels/3.png: expected one channel of class ids, it is of mode RGB; "
        "are these colours instead of class ids?",
        "/labels/4.png: pixel values that are neither a class's id nor ignored: 77 (6144 pixels)",
    ]
    assert lines[6] == "/labels/5.png is no PNG file; a label map must be one"


def png(rows: list[list[int]], depth: int) -> bytes:
    """Return a grey PNG file with samples of 1 to 16 bits, which Pillow itself does not write."""
    height, width = len(rows), len(rows[0])
    packed = b""
    for row in rows:
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        packed += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_indices_of_every_depth_are_read_as_they_stand(depth: int, tmp_path: Path) -> None:
    most = min(2**depth - 1, 255)
    rows = [[0, 1, most], [1, 1, 0]]
    (tmp_path / "a.png").write_bytes(png(rows, depth))
    values = read_values(tmp_path / "a.png")
    assert values.dtype == np.uint8 and values.tolist() == rows


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_of_a_palette_are_read_as_they_stand(bits: int, tmp_path: Path) -> None:
    labels = Image.fromarray(np.array([[0, 1], [1, 2**bits - 1]], np.uint8))
    labels.putpalette([part for i in range(256) for part in (255 - i, i, 0)])
    labels.save(tmp_path / "a.png", bits=bits)
    assert read_values(tmp_path / "a.png").tolist() == [[0, 1], [1, 2**bits - 1]]


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_ids_in_every_colour_channel_are_read(mode: str, tmp_path: Path) -> None:
    ids = [[0, 1], [7, 255]]
    Image.fromarray(np.array(ids, np.uint8)).convert(mode).save(tmp_path / "a.png")
    assert read_values(tmp_path / "a.png").tolist() == ids


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (3, 3, 4)), ("RGBA", (3, 3, 3, 0)), ("LA", (3, 0))])
def test_colours_and_transparent_pixels_are_no_ids(
    mode: str, colour: tuple[int, ...], tmp_path: Path
) -> None:
    Image.new(mode, (4, 4), colour).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"expected one channel of class ids, it is of mode {mode}"):
        read_values(tmp_path / "a.png")


def test_texts_in_a_label_map_do_not_matter(tmp_path: Path) -> None:
    """Pillow refuses a file whose comment inflates to more than a megabyte."""
    plain = png([[0, 1], [1, 0]], 4)
    content = b"Comment\0\0" + zlib.compress(bytes(2_000_000))
    text = (
        struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    )
    (tmp_path / "a.png").write_bytes(plain[:33] + text + plain[33:])
    assert read_values(tmp_path / "a.png").tolist() == [[0, 1], [1, 0]]


def test_ids_beyond_a_byte_and_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png([[0, 256]], 16))
    with pytest.raises(
        DataError, match=r"a\.png: class ids are 0 to 255, but one of its pixel values is 256"
    ):
        read_values(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png([[0] * 99] * 99, 8)[:-40])
    with pytest.raises(DataError, match=r"a\.png cannot be decoded, it is damaged or not complete$"):
        read_values(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"b\.png cannot be read: no such file or directory$"):
        read_values(tmp_path / "b.png")


def test_pictures_are_found_by_every_suffix_and_hidden_files_are_not(tmp_path: Path) -> None:
    suffixes = ("jpe", "JFIF", "JPG", "Jpeg", "webp", "TIF", "bmp")
    file = label_files.write(tmp_path, count=len(suffixes))
    for index, suffix in enumerate(suffixes):
        picture = Image.open(tmp_path / f"images/{index}.png")
        picture.save(tmp_path / f"images/{index}.{suffix}", "JPEG" if suffix[0] in "jJ" else None)
        (tmp_path / f"images/{index}.png").unlink()
    (tmp_path / "labels/0.png").rename(tmp_path / "labels/0.PNG")
    for folder in ("images", "labels"):
        (tmp_path / folder / "._0.png").write_bytes(b"what macOS keeps")
        (tmp_path / folder / "notes.txt").touch()
    data = load_label_maps(file, tmp_path)
    assert [pair.image.name for pair in data.pairs] == [f"{i}.{s}" for i, s in enumerate(suffixes)]
    assert data.read(0)[0].shape == (64, 96, 3)


def test_two_images_of_one_name_are_a_problem(tmp_path: Path) -> None:
    file = label_files.write(tmp_path, count=2)
    Image.open(tmp_path / "images/1.png").save(tmp_path / "images/1.jpg")
    says = f"{tmp_path / 'images/1.png'}: 1.jpg has the same name, so its partner is not clear"
    assert complaint(file, tmp_path).splitlines()[1:] == [f"  {says}"]


def test_at_most_ten_problems_are_listed(tmp_path: Path) -> None:
    file = label_files.write(tmp_path, count=12)
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    lines = complaint(file, tmp_path).splitlines()
    assert len(lines) == 12 and lines[-1].strip() == "…"


def test_folders_that_are_not_there_or_empty(tmp_path: Path) -> None:
    file = label_files.write(tmp_path, count=0)
    assert complaint(file, tmp_path).endswith(f"there are no images in {tmp_path / 'images'}")
    assert f"there is no folder {tmp_path / 'x/images'}" in complaint(file, tmp_path / "x")


SKY, ROAD = {"id": 0, "name": "sky"}, {"id": 1, "name": "road"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "expected"),
        ({"classes": ["sky"]}, "expected"),
        ({"classes": [SKY]}, "there must be 2 to 255 classes, got 1"),
        ({"classes": [SKY, {"id": 300, "name": "b"}]}, "'id' must be a pixel value from 0 to 255, got 300"),
        ({"classes": [SKY, {"id": True, "name": "b"}]}, "'id' must be a pixel value"),
        (
            {"classes": [SKY, {"id": "one", "name": "b"}]},
            "'id' must be a pixel value from 0 to 255, got 'one'",
        ),
        ({"classes": [SKY, {"id": 1}]}, "class 1 needs a name"),
        ({"classes": [SKY, ROAD], "ignore": 255}, "'ignore' must be a list"),
        ({"classes": [SKY, ROAD], "ignore": [1]}, "pixel value 1 is listed more than once"),
        ({"classes": [SKY, ROAD | {"name": "sky"}]}, "two classes are named 'sky'"),
        ({"classes": [SKY, ROAD | {"colour": [1, 2]}]}, "a 'colour' is not three numbers"),
    ],
)
def test_a_bad_file_of_classes_is_refused(data: Any, says: str, tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=says) as raised:
        read_labelling(file)
    assert str(raised.value).startswith(str(file))


def test_pixel_values_are_read_as_ids_are(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"classes": [SKY | {"id": "0"}, ROAD | {"id": 1.0}], "ignore": ["255"]}))
    labelling = read_labelling(file)
    assert [c.id for c in labelling.classes] == [0, 1] and labelling.ignore == (255,)


def test_the_example_is_camvid() -> None:
    labelling = read_labelling(ROOT / "examples/camvid.json")
    assert [c.id for c in labelling.classes] == list(range(11)) and labelling.ignore == (11,)
    assert len(set(labelling.palette)) == 11


def test_sets_with_other_pixel_values_train_together(tmp_path: Path) -> None:
    first = label_files.load(tmp_path / "a")
    other = {
        "classes": [c | {"id": i} for c, i in zip(label_files.CLASSES, (4, 0, 9), strict=True)],
        "ignore": [2],
    }
    second = load_label_maps(label_files.write(tmp_path / "b", other), tmp_path / "b")
    both = together([first, second])
    assert len(both.pairs) == 8
    np.testing.assert_array_equal(both.read(4)[1] == 2, first.read(0)[1] == VOID)
    renamed = {"classes": [c | {"name": f"{c['name']}s"} for c in label_files.CLASSES], "ignore": [9]}
    third = load_label_maps(label_files.write(tmp_path / "c", renamed), tmp_path / "c")
    with pytest.raises(DataError, match="class 0 is 'grounds' instead of 'ground'"):
        together([first, third])


def test_samples_repeat_by_their_draw(tmp_path: Path) -> None:
    data = LabelMapTrainingSet(label_files.load(tmp_path), LabelAugmentation((32, 64), colour=0.2))

    def same(one: tuple[Pixels, Pixels], other: tuple[Pixels, Pixels]) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    assert same(data[Draw(1, 5)], data[Draw(1, 5, 9)])
    assert not same(data[Draw(1, 5)], data[Draw(1, 6)])
    batch = collate_label_maps([data[0], data[1]])
    assert batch.images[0].shape == (3, 32, 64) and batch.images[0].dtype == torch.uint8
    assert batch.labels.shape == (2, 32, 64) and batch.labels.dtype == torch.int64
