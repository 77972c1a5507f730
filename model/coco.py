"""Instance annotations in COCO's format, read and checked as a whole before anything trains on them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pycocotools import mask as rle_codec
from tqdm import tqdm

from model.augment import Rle, Shape
from model.categories import Category
from model.coco_fields import DataError, finite, integer, name, unseen, value

__all__ = ["Annotation", "CocoDataset", "DataError", "Record", "load_coco"]

_SHOWN = 10  # problems listed in one error


@dataclass(frozen=True)
class Annotation:
    id: int
    category: int  # position in the data set's categories
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, inside the image
    shape: Shape | None  # None: only the box is known


@dataclass(frozen=True)
class Record:
    """One image and its instances."""

    image_id: int
    path: Path
    width: int
    height: int
    annotations: tuple[Annotation, ...]
    left_out: int = 0  # annotations that cannot be trained on: crowds and degenerate boxes

    @property
    def has_masks(self) -> bool:
        """Whether any instance has a mask; an image without instances counts as one with all of them."""
        return not self.annotations or any(a.shape is not None for a in self.annotations)

    def boxes(self) -> NDArray[np.float64]:
        """[N,4] x0, y0, x1, y1 in pixels."""
        return np.array([a.box for a in self.annotations], dtype=np.float64).reshape(-1, 4)


@dataclass(frozen=True)
class CocoDataset:
    categories: tuple[Category, ...]  # by id
    records: tuple[Record, ...]  # in the file's order


def load_coco(annotations: Path, images: Path) -> CocoDataset:
    """Read a COCO file whose images lie in the folder `images`.

    Annotations with `iscrowd` are checked and left out, boxes that are degenerate by less than a
    pixel are left out. Raises DataError that lists the first problems: missing keys, bad boxes or
    segmentations, unknown categories or images, duplicate ids or names, image files that are missing,
    unreadable or (by their header) of another size.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{annotations}: cannot be read as JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{annotations}: not a COCO file, it has no list {key!r}")
    if not data["categories"]:
        raise DataError(f"{annotations}: its list of categories is empty")

    problems: list[str] = []
    categories: dict[int, Category] = {}
    for entry in data["categories"]:
        try:
            category = Category(integer(entry, "id"), str(value(entry, "name")))
            unseen("id", category.id, categories)
            unseen("name", category.name, {c.name for c in categories.values()})
            categories[category.id] = category
        except DataError as error:
            problems.append(f"category {name(entry)}: {error}")
    ordered = sorted(categories.values(), key=lambda c: c.id)
    positions = {c.id: i for i, c in enumerate(ordered)}

    found: dict[int, Record] = {}
    unusable: set[int] = set()  # images with a problem: their annotations are not another one
    silent = os.environ.get("RANK", "0") != "0"  # of torchrun
    for entry in tqdm(data["images"], f"checking {annotations.name}", delay=1, leave=False, disable=silent):
        try:
            new = _record(entry, images)
            unseen("id", new.image_id, found)
            found[new.image_id] = new
        except DataError as error:
            problems.append(f"image {name(entry)}: {error}")
            if isinstance(entry, dict) and isinstance(entry.get("id"), int):
                unusable.add(entry["id"])

    instances: dict[int, list[Annotation]] = {i: [] for i in found}
    left_out = dict.fromkeys(found, 0)
    seen: set[int] = set()
    for entry in data["annotations"]:
        record = None
        try:
            identity = integer(entry, "id")
            unseen("id", identity, seen)
            seen.add(identity)
            image_id = integer(entry, "image_id")
            record = found.get(image_id)
            if record is None and image_id in unusable:
                continue
            if record is None:
                raise DataError(f"image {image_id} is not in the list")
            instance = _annotation(entry, record, positions)
            if instance and not entry.get("iscrowd"):
                instances[image_id].append(instance)
            else:
                left_out[image_id] += 1
        except DataError as error:
            image = f" of image {record.image_id} ({record.path.name})" if record else ""
            problems.append(f"annotation {name(entry)}{image}: {error}")

    if problems:
        more = [f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError("\n  ".join([f"{annotations}: {count}", *problems[:_SHOWN], *more]))
    records = (replace(r, annotations=tuple(instances[i]), left_out=left_out[i]) for i, r in found.items())
    return CocoDataset(tuple(ordered), tuple(records))


def _record(entry: Any, folder: Path) -> Record:
    path = folder / str(value(entry, "file_name"))
    width, height = integer(entry, "width"), integer(entry, "height")
    if min(width, height) < 1:
        raise DataError(f"size {width}×{height} is not positive")
    if not path.is_file():
        raise DataError(f"no file {path}")
    _check_header(path, (width, height))
    return Record(integer(entry, "id"), path, width, height, ())


def _check_header(path: Path, annotated: tuple[int, int]) -> None:
    """That the picture opens and, as displayed, has the annotated width and height."""
    try:
        with Image.open(path) as file:
            # Asked only where there is some: a PNG would be decoded to look for it.
            turn = file.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in file.info else 1
            width, height = file.size[::-1] if turn >= 5 else file.size
    except Exception as error:  # PIL raises nearly anything at a damaged file
        raise DataError(f"{path} cannot be read: {error}") from error
    if (width, height) != annotated:
        raise DataError(f"{path} is {width}×{height}, annotated as {annotated[0]}×{annotated[1]}")


def _annotation(entry: Any, record: Record, positions: dict[int, int]) -> Annotation | None:
    """None if the box is degenerate by less than a pixel; COCO itself has a few such."""
    category = integer(entry, "category_id")
    if category not in positions:
        raise DataError(
            f"category {category} is unknown, there are {', '.join(map(str, positions)) or 'none'}"
        )
    shape = _shape(entry.get("segmentation"), record)
    box = value(entry, "bbox")
    if not (isinstance(box, list) and len(box) == 4 and finite(box)):
        raise DataError(f"box must be 4 finite numbers, got {box}")
    x, y, w, h = map(float, box)
    if min(w, h) <= -1:
        raise DataError(f"box size {w:g}×{h:g} is not positive")
    x0, y0 = max(x, 0.0), max(y, 0.0)
    x1, y1 = min(x + w, float(record.width)), min(y + h, float(record.height))
    if min(x1 - x0, y1 - y0) <= -1:
        raise DataError(f"box {box} lies outside of the image of {record.width}×{record.height}")
    if min(x1 - x0, y1 - y0) <= 0:
        return None
    return Annotation(entry["id"], positions[category], (x0, y0, x1, y1), shape)


def _shape(segmentation: Any, record: Record) -> Shape | None:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        for points in segmentation:
            if not (isinstance(points, list) and finite(points)):
                raise DataError("polygon must be a list of finite numbers")
            if len(points) < 6 or len(points) % 2:
                raise DataError(f"polygon must have an even number of at least 6 numbers, got {len(points)}")
        return tuple(np.array(p, dtype=np.float32).reshape(-1, 2) for p in segmentation)
    size, counts = value(segmentation, "size"), value(segmentation, "counts")
    if size != [record.height, record.width]:
        raise DataError(
            f"RLE is of size {size}, the image of {[record.height, record.width]} (height, width)"
        )
    if isinstance(counts, str):
        runs = _run_lengths(counts)
    elif isinstance(counts, list) and all(isinstance(n, int) for n in counts):
        runs = counts
    else:
        raise DataError("RLE counts must be a string or a list of integers")
    if min(runs, default=-1) < 0 or sum(runs) != record.height * record.width:
        raise DataError(f"RLE counts cover {sum(runs)} pixels of {record.height * record.width}")
    if isinstance(counts, str):
        return Rle(size=size, counts=counts.encode("ascii"))
    packed = rle_codec.frPyObjects({"size": size, "counts": counts}, record.height, record.width)
    return Rle(size=size, counts=packed["counts"])


def _run_lengths(counts: str) -> list[int]:
    """Of a compressed RLE. Checked here because pycocotools decodes some damaged strings to noise.

    Each character holds 5 bits, lowest first, and a flag for more; the sign is the last one's
    highest bit, and from the fourth run on the number is a difference to the run before last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(f"RLE counts hold a character that has no meaning there: {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
