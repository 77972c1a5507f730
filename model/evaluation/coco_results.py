"""Lists of COCO results: read from files, and checked against the data that they are to be measured on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.fields import DataError, are_finite, integer, label_of, read_json, value
from model.masks.rle import decompress

Sizes = Mapping[int, list[int]]  # height and width, by the image's id
_INTEGERS = {  # that entries of a COCO file must have
    "images": ("id", "width", "height"),
    "categories": ("id",),
    "annotations": ("image_id", "category_id"),
}


@dataclass(frozen=True)
class CocoResults:
    """COCO results, and for which images and categories of the data they were made (None: for all)."""

    entries: list[Any]
    image_ids: list[int] | None = None
    category_ids: list[int] | None = None

    def details(self) -> dict[str, Any]:
        """Return what `read_results` reads, JSON-ready."""
        return {
            "image_ids": self.image_ids,
            "category_ids": self.category_ids,
            "results": self.entries,
        }


def read_results(path: Path) -> CocoResults:
    """Return a COCO results list, or the results in a file that `evaluate --out` wrote. Raises DataError."""
    data = read_json(path)
    if isinstance(data, list):
        return CocoResults(data)
    if isinstance(data, dict) and isinstance(data.get("results"), list):
        ids = [data.get(key) for key in ("image_ids", "category_ids")]
        if all(i is None or (isinstance(i, list) and all(isinstance(n, int) for n in i)) for i in ids):
            return CocoResults(data["results"], *ids)
    raise DataError(f"{path}: neither a COCO results list nor a file that `evaluate --out` wrote")


def read_truth(path: Path) -> dict[str, Any]:
    """Return a COCO file, whose entries are checked to have what is measured with. Raises DataError."""
    data = read_json(path)
    for part, keys in _INTEGERS.items():
        if not isinstance(data, dict) or not isinstance(data.get(part), list):
            raise DataError(f"{path}: not a COCO file, it has no list {part!r}")
        for entry in data[part]:
            try:
                for key in keys:
                    integer(entry, key)
                if part == "annotations" and not _is_box(value(entry, "bbox")):
                    raise DataError(f"box must be 4 finite numbers, got {entry['bbox']}")
            except DataError as error:
                raise DataError(f"{path}: entry {label_of(entry)} of {part!r}: {error}") from error
    return dict(data)


def check_results(results: Sequence[Any], sizes: Sizes, category_ids: Collection[int]) -> None:
    """Raise DataError that names the first result which cannot be measured."""
    for position, result in enumerate(results):
        if problem := _problem(result, sizes, category_ids):
            raise DataError(f"result {position} {problem}")


def _problem(result: Any, sizes: Sizes, category_ids: Collection[int]) -> str | None:
    """Return what makes a result unusable."""
    if not isinstance(result, Mapping):
        return "is not an object"
    if missing := {"image_id", "category_id", "bbox", "score"} - result.keys():
        return f"has no {', '.join(sorted(missing))}"
    image_id, category_id = result["image_id"], result["category_id"]
    if not isinstance(image_id, int) or image_id not in sizes:
        return f"is for image {image_id!r}, which is not measured"
    if not isinstance(category_id, int) or category_id not in category_ids:
        return f"is of category {category_id!r}, which the data do not have"
    if not _is_box(result["bbox"]):
        return f"has a bbox that is not 4 finite numbers: {result['bbox']}"
    if not are_finite([result["score"]]):
        return f"has a score that is not a finite number: {result['score']}"
    if result.get("segmentation") and not _is_rle(result["segmentation"], sizes[image_id]):
        height, width = sizes[image_id]
        return f"has a segmentation that is not a compressed RLE of height {height} and width {width}"
    return None


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and are_finite(box)


def _is_rle(segmentation: Any, size: list[int]) -> bool:
    try:
        counts = decompress(segmentation["counts"])
        return bool(segmentation["size"] == size and counts.sum() == math.prod(size))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
