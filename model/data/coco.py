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
from tqdm import tqdm

from model.config.categories import Category
from model.data import coco_segmentation as segmentation
from model.data.augment import Shape
from model.data.fields import DataError, finite, integer, name, text, unseen, value

__all__ = ["Annotation", "CocoDataset", "DataError", "Record", "load_coco"]

_SHOWN = 10  # problems listed in one error
_DOUBTFUL = 0.05  # share of odd boxes above which all may be meant otherwise
_SLACK = 2.0  # pixels


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
    left_out: int = 0  # annotations that cannot be trained on: crowds, degenerate boxes and empty masks
    crowds: tuple[tuple[float, float, float, float], ...] = ()  # their boxes: neither instance nor background

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
    doubt: str | None = None  # what looks wrong, though it can be trained on


def load_coco(annotations: Path, images: Path) -> CocoDataset:
    """Read a COCO file whose images lie in the folder `images`.

    Annotations with `iscrowd` are checked, and but for their boxes left out; boxes that are degenerate by less than a
    pixel and empty masks are left out. Raises DataError that lists the first problems: missing keys, bad boxes
    or segmentations, unknown categories or images, duplicate ids or names, image files that are missing,
    unreadable or (by their header) of another size.
    """
    data = _read(annotations)
    problems: list[str] = []
    categories = _categories(data["categories"], problems)
    _stop_at(problems, annotations)  # every annotation of such a category would be another one
    if not images.is_dir():
        raise DataError(f"{annotations}: its images are looked for in {images}, which is no folder")
    names = [e["file_name"] for e in data["images"] if isinstance(e, dict) and "file_name" in e]
    if names and not any((images / str(name)).is_file() for name in names):
        first = images / str(names[0])
        raise DataError(
            f"{annotations}: none of its {len(names)} images is in {images}; the first would be {first}"
        )

    found: dict[int, Record] = {}
    paths: set[str] = set()
    unusable: set[int] = set()  # images with a problem: their annotations are not another one
    silent = os.environ.get("RANK", "0") != "0"  # of torchrun
    for entry in tqdm(data["images"], f"checking {annotations.name}", delay=1, leave=False, disable=silent):
        try:
            new = _record(entry, images)
            unseen("id", new.image_id, found)
            unseen("file", str(new.path), paths)
            paths.add(str(new.path))
            found[new.image_id] = new
        except DataError as error:
            problems.append(f"image {name(entry)}: {error}")
            if isinstance(entry, dict) and isinstance(entry.get("id"), int):
                unusable.add(entry["id"])

    positions = {category.id: i for i, category in enumerate(categories)}
    instances: dict[int, list[Annotation]] = {i: [] for i in found}
    crowds: dict[int, list[tuple[float, float, float, float]]] = {i: [] for i in found}
    left_out = dict.fromkeys(found, 0)
    odd: list[Any] = []
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
            if instance and not _is_crowd(entry):
                instances[image_id].append(instance)
                odd += [entry] if _is_odd(entry["bbox"], instance, record) else []
            else:
                left_out[image_id] += 1
                crowds[image_id] += [instance.box] if instance else []
        except DataError as error:
            image = f" of image {record.image_id} ({record.path.name})" if record else ""
            problems.append(f"annotation {name(entry)}{image}: {error}")

    _stop_at(problems, annotations)
    records = (
        replace(r, annotations=tuple(instances[i]), left_out=left_out[i], crowds=tuple(crowds[i]))
        for i, r in found.items()
    )
    doubt = _doubt(odd, sum(map(len, instances.values())))
    return CocoDataset(categories, tuple(records), doubt and f"{annotations.name}: {doubt}")


def _read(annotations: Path) -> dict[str, list[Any]]:
    try:
        data = json.loads(annotations.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{annotations}: cannot be read as JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{annotations}: not a COCO file, it has no list {key!r}")
    if not data["categories"]:
        raise DataError(f"{annotations}: its list of categories is empty")
    return dict(data)


def _categories(entries: list[Any], problems: list[str]) -> tuple[Category, ...]:
    """By id; adds to the problems."""
    categories: dict[int, Category] = {}
    for entry in entries:
        try:
            category = Category(integer(entry, "id"), text(entry, "name"))
            unseen("id", category.id, categories)
            unseen("name", category.name, {c.name for c in categories.values()})
            categories[category.id] = category
        except DataError as error:
            problems.append(f"category {name(entry)}: {error}")
    return tuple(sorted(categories.values(), key=lambda c: c.id))


def _stop_at(problems: list[str], annotations: Path) -> None:
    if problems:
        more = [f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError("\n  ".join([f"{annotations}: {count}", *problems[:_SHOWN], *more]))


def _record(entry: Any, folder: Path) -> Record:
    path = folder / text(entry, "file_name")
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
        turned = " as displayed (its EXIF data turn it)" if turn >= 5 else ""
        raise DataError(f"{path} is {width}×{height}{turned}, annotated as {annotated[0]}×{annotated[1]}")


def _is_crowd(entry: dict[str, Any]) -> bool:
    crowd = entry.get("iscrowd")
    if crowd not in (None, 0, 1):
        raise DataError(f"'iscrowd' must be 0 or 1, got {crowd!r}")
    return bool(crowd)


def _annotation(entry: Any, record: Record, positions: dict[int, int]) -> Annotation | None:
    """None if the box is degenerate by less than a pixel (COCO itself has a few such) or the mask empty."""
    category = integer(entry, "category_id")
    if category not in positions:
        raise DataError(f"category {category} is unknown, there are {', '.join(map(str, positions))}")
    shape = segmentation.read(entry.get("segmentation"), record.width, record.height)
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
    if shape is not None:
        left, top, right, bottom = segmentation.extent(shape)
        if not isinstance(shape, tuple) and right <= left:
            return None
        if left > x1 + 1 or right < x0 - 1 or top > y1 + 1 or bottom < y0 - 1:
            raise DataError(
                f"segmentation spans x {left:g}–{right:g}, y {top:g}–{bottom:g}, which is not in its box {box}"
            )
    return Annotation(entry["id"], positions[category], (x0, y0, x1, y1), shape)


def _is_odd(box: list[float], instance: Annotation, record: Record) -> bool:
    """Whether a box reaches beyond its image, is narrower than a pixel, or does not fit its mask."""
    x, y, w, h = box
    beyond = max(-x, -y, x + w - record.width, y + h - record.height)
    if beyond > _SLACK or min(w, h) < 1:
        return True
    if instance.shape is None:
        return False
    own, other = np.array(instance.box), np.array(segmentation.extent(instance.shape))
    return bool(np.abs(own - other).max() > _SLACK + 0.1 * max(w, h))


def _doubt(odd: list[Any], count: int) -> str | None:
    if len(odd) <= _DOUBTFUL * count:
        return None
    return (
        f"{len(odd)} of {count} boxes reach beyond their image, are narrower than a pixel or do not fit their "
        f"mask, such as {odd[0]['bbox']} of annotation {odd[0]['id']}; is it [x, y, width, height] in pixels?"
    )
