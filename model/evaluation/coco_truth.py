"""The ground truth of a COCO file, checked as results are: what measures with it is C++ code that checks nothing."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from model.data import coco_segmentation as segmentation
from model.data.coco import read_lists
from model.data.coco_entries import is_crowd, read_box
from model.data.coco_records import NO_CROWDS
from model.data.fields import DataError, are_finite, check_unseen, integer, label_of
from model.data.images import MAX_PIXELS

T = TypeVar("T")


@dataclass(frozen=True)
class Truth:
    """What is to be found in images."""

    sizes: Mapping[int, list[int]]  # height and width, by the image's id
    category_ids: Sequence[int]
    annotations: Sequence[
        Mapping[str, Any]
    ]  # as COCO has them, with no other members than `_annotation` gives

    def check_measurable(self, path: Path) -> None:
        """Raise DataError that names the file if nothing but crowds is annotated."""
        count = len(self.annotations)
        if count and all(annotation["iscrowd"] for annotation in self.annotations):
            raise DataError(
                f"{path}: there is nothing to measure, all annotations are crowds ({count}); {NO_CROWDS}"
            )

    def as_one_class(self) -> Truth:
        """Return the same with all annotations of one category, as `coco_categories.as_one_class` numbers it."""
        return replace(
            self, category_ids=[1], annotations=[{**a, "category_id": 1} for a in self.annotations]
        )


def read_truth(path: Path) -> Truth:
    """Return the ground truth of a COCO file. Annotations of images that are not in its list are left out.

    Raises DataError that names the file and the first entry that cannot be measured with.
    """
    lists = read_lists(path)
    sizes: dict[int, list[int]] = {}
    for entry in lists["images"]:
        identity = _named(path, "image", entry, lambda e: _unseen(e, sizes))
        sizes[identity] = _named(path, "image", entry, _size)
    category_ids: list[int] = []
    for entry in lists["categories"]:
        category_ids.append(_named(path, "category", entry, lambda e: _unseen(e, category_ids)))
    known = set(category_ids)
    found = [
        _named(path, "annotation", entry, lambda e: _annotation(e, sizes, known))
        for entry in lists["annotations"]
    ]
    return Truth(sizes, category_ids, [annotation for annotation in found if annotation])


def _named(path: Path, kind: str, entry: Any, read: Callable[[Any], T]) -> T:
    """Return what is read of an entry. Raises DataError that names the file and the entry."""
    try:
        return read(entry)
    except DataError as error:
        raise DataError(f"{path}: {kind} {label_of(entry)}: {error}") from error


def _unseen(entry: Any, seen: Container[int]) -> int:
    """Return an entry's id. Raises DataError if it was seen before."""
    identity = integer(entry, "id")
    check_unseen("id", identity, seen)
    return identity


def _size(entry: Any) -> list[int]:
    height, width = integer(entry, "height"), integer(entry, "width")
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise DataError(f"size {width}×{height} is not that of an image")
    return [height, width]


def _annotation(
    entry: Any, sizes: Mapping[int, Sequence[int]], category_ids: Container[int]
) -> dict[str, Any] | None:
    """Return what of an annotation is measured with; None if its image is not in the list.

    Its segmentation is None if it has none, or one that covers nothing: an empty list, too few points, no pixel.
    """
    image_id, category_id = integer(entry, "image_id"), integer(entry, "category_id")
    if image_id not in sizes:
        return None
    if category_id not in category_ids:
        raise DataError(f"category {category_id} is not in the list")
    height, width = sizes[image_id]
    given = entry.get("segmentation")
    shape = segmentation.read(given, width, height)
    box = read_box(entry, shape)
    area = entry.get("area")
    if area is not None and not are_finite([area]):
        raise DataError(f"'area' must be a finite number, got {str(area)[:80]}")
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": box[2] * box[3] if area is None else float(area),
        "iscrowd": int(is_crowd(entry)),
        "segmentation": segmentation.coco_format(given, shape),
    }
