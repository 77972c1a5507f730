"""A COCO data set in memory: images with their instances, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.config.categories import Category
from model.data.augment import Shape
from model.data.fields import DataError
from model.data.images import Pixels, read_rgb
from model.errors import reason
from model.predict.image_errors import ImageError

# What to do about crowds that are none.
NO_CROWDS = (
    'where each is one object, it needs "iscrowd": 0 (some tools write 1 for every mask that was painted)'
)

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


@dataclass(frozen=True)
class Annotation:
    """One instance."""

    id: int
    category: int  # position in the data set's categories
    box: Box  # inside the image
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
    num_crowds: int = 0  # those of them that are crowds
    crowds: tuple[Box, ...] = ()  # their boxes: neither instance nor background

    @property
    def has_masks(self) -> bool:
        """Whether any instance has a mask; an image without instances counts as one with all of them."""
        return not self.annotations or any(a.shape is not None for a in self.annotations)

    def boxes(self) -> NDArray[np.float64]:
        """Return the boxes of all instances, [N, 4] x0, y0, x1, y1 in pixels."""
        return np.array([a.box for a in self.annotations], dtype=np.float64).reshape(-1, 4)


@dataclass(frozen=True)
class CocoDataset:
    """The content of one COCO file."""

    categories: tuple[Category, ...]  # by id
    records: tuple[Record, ...]  # in the file's order
    remarks: tuple[str, ...] = ()  # what looks wrong or was left out, though the rest can be trained on
    unused: frozenset[Category] = frozenset()  # the categories that no annotation has


def why_nothing(records: Sequence[Record]) -> str:
    """Return why images have no instance to train on or to measure."""
    left_out, crowds = sum(r.left_out for r in records), sum(r.num_crowds for r in records)
    if not left_out:
        return "nothing is annotated in them"
    if crowds == left_out:
        return f"all annotations are crowds ({crowds}); {NO_CROWDS}"
    return f"{crowds} of {left_out} annotations are crowds, the others have no area"


def read_image(record: Record) -> Pixels:
    """Return the record's image [H, W, 3], RGB, as displayed. Raises DataError if unreadable or of another size."""
    label = f"image {record.image_id} ({record.path})"
    try:
        pixels = read_rgb(record.path)
    except (OSError, ImageError) as error:
        raise DataError(f"{label}: {reason(error)}") from error
    height, width = pixels.shape[:2]
    if (height, width) != (record.height, record.width):
        raise DataError(f"{label}: {width}×{height}, annotated as {record.width}×{record.height}")
    return pixels
