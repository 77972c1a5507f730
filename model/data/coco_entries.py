"""Entries of a COCO file: categories, images and annotations, each checked and turned into what is trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.data import coco_segmentation as segmentation
from model.data.augment import Shape
from model.data.coco_records import Annotation, Record
from model.data.fields import DataError, are_finite, flag, integer, text, value
from model.data.images import read_size
from model.errors import reason
from model.predict.image_errors import ImageError

_LEAST_SIDE = 0.01  # pixels; in single precision both edges of a much narrower box may be the same number
_SLACK = 2.0  # pixels by which a box may miss its image or its mask
_LISTED = 5  # annotations in one message
_DOUBTFUL = 0.05  # share of odd boxes above which the file may use another box format


def image_path(folder: Path, name: str) -> Path:
    """Return the file of an image in a folder; a name written on Windows may have backslashes between its parts."""
    path = folder / name
    return path if "\\" not in name or is_file(path) else folder / name.replace("\\", "/")


def is_file(path: Path) -> bool:
    """Return whether there is such a file. A name that no file can have is no error, as it is to `Path.is_file`."""
    return os.path.isfile(path)


def read_record(entry: Any, folder: Path) -> Record:
    """Return an image, without annotations yet.

    Raises DataError if its file is missing, unreadable or of another size.
    """
    path = image_path(folder, text(entry, "file_name"))
    width, height = integer(entry, "width"), integer(entry, "height")
    if min(width, height) < 1:
        raise DataError(f"size {width}×{height} is not positive")
    if not is_file(path):
        raise DataError(f"no file {path}")
    try:
        found = read_size(path)
    except (OSError, ImageError) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    if (found.width, found.height) != (width, height):
        turned = " as displayed (its EXIF data turn it)" if found.turned else ""
        raise DataError(f"{path} is {found.width}×{found.height}{turned}, annotated as {width}×{height}")
    return Record(integer(entry, "id"), path, width, height, ())


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation is a group of instances. Raises DataError."""
    return flag(entry, "iscrowd")


def read_box(entry: Mapping[str, Any], shape: Shape | None) -> list[float]:
    """Return an annotation's box [x, y, width, height]; without one, that of its mask. Raises DataError."""
    box = entry.get("bbox")
    if box in (None, []) and shape is not None:
        x0, y0, x1, y1 = segmentation.extent(shape)
        return [x0, y0, x1 - x0, y1 - y0]
    box = value(entry, "bbox")
    if not (isinstance(box, list) and len(box) == 4 and are_finite(box)):
        raise DataError(f"box must be 4 finite numbers, got {str(box)[:80]}")
    return list(map(float, box))


def read_annotation(entry: Any, record: Record, positions: Mapping[int, int]) -> Annotation | None:
    """Return an instance of an image; `positions` are those of the categories, by id.

    None if its box is degenerate by less than a pixel (COCO itself has a few such) or its mask empty. Raises
    DataError if box, segmentation or category cannot be used.
    """
    category = integer(entry, "category_id")
    if category not in positions:
        raise DataError(f"category {category} is unknown, there are {', '.join(map(str, positions))}")
    shape = segmentation.read(entry.get("segmentation"), record.width, record.height)
    box = read_box(entry, shape)
    x, y, w, h = box
    if min(w, h) <= -1:
        raise DataError(f"box size {w:g}×{h:g} is not positive")
    x0, y0 = max(x, 0.0), max(y, 0.0)
    x1, y1 = min(x + w, float(record.width)), min(y + h, float(record.height))
    if min(x1 - x0, y1 - y0) <= -1:
        raise DataError(f"box {box} lies outside of the image of {record.width}×{record.height}")
    if min(x1 - x0, y1 - y0) < _LEAST_SIDE:
        return None
    if shape is not None:
        left, top, right, bottom = segmentation.extent(shape)
        if not isinstance(shape, tuple) and right <= left:
            return None
        if left > x1 + 1 or right < x0 - 1 or top > y1 + 1 or bottom < y0 - 1:
            raise DataError(
                f"segmentation spans x {left:g}–{right:g}, y {top:g}–{bottom:g}, "
                f"which is not in its box [{x:g}, {y:g}, {w:g}, {h:g}]"
            )
    return Annotation(integer(entry, "id"), positions[category], (x0, y0, x1, y1), shape)


def is_odd(entry: Mapping[str, Any], instance: Annotation, record: Record) -> bool:
    """Return whether a box reaches beyond its image, is narrower than a pixel, or does not fit its mask."""
    x, y, w, h = read_box(entry, instance.shape)
    beyond = max(-x, -y, x + w - record.width, y + h - record.height)
    if beyond > _SLACK or min(w, h) < 1:
        return True
    if instance.shape is None:
        return False
    own, other = np.array(instance.box), np.array(segmentation.extent(instance.shape))
    return bool(np.abs(own - other).max() > _SLACK + 0.1 * max(w, h))


def doubt_about(odd: list[Any], count: int) -> str | None:
    """Return a warning if so many boxes are odd that the file may use another box format."""
    if len(odd) <= _DOUBTFUL * count:
        return None
    return (
        f"{len(odd)} of {count} boxes reach beyond their image, are narrower than a pixel or do not fit their "
        f"mask, such as {odd[0].get('bbox')} of annotation {odd[0]['id']}; is it [x, y, width, height] in pixels?"
    )


def left_out_polygons(short: Sequence[tuple[int, int]]) -> str:
    """Return a remark about polygons that are left out; `short` has the annotations with the number of theirs."""
    count = sum(number for _, number in short)
    plural = "s of fewer than 3 points are" if count > 1 else " of fewer than 3 points is"
    which = ", ".join(str(identity) for identity, _ in short[:_LISTED]) + ", …" * (len(short) > _LISTED)
    return f"{count} polygon{plural} left out, of annotation{'s' * (len(short) > 1)} {which}"
