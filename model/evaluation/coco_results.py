"""Lists of COCO results: made of masks, read from files, checked against the data that they are measured on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as rle_codec

from model.config.categories import Category
from model.data import coco_segmentation as segmentation
from model.data.fields import DataError, are_finite, read_json, whole, whole_numbers
from model.masks import rle
from model.predict.instance import Mask

_SHOWN = 80  # characters of a value in a message
Sizes = Mapping[int, list[int]]  # height and width, by the image's id


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


def coco_result(mask: Mask, category: Category, image_id: int, width: int, height: int) -> dict[str, Any]:
    """Return one entry of a COCO results list for a mask of a width×height image."""
    counts = rle.encode(mask.crop(width, height), width, height)
    x0, y0, x1, y1 = mask.box.tolist()
    return {
        "image_id": image_id,
        "category_id": category.id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "score": mask.score,
        "segmentation": {"size": [height, width], "counts": rle.compress(counts)},
    }


def read_results(path: Path) -> CocoResults:
    """Return a COCO results list, or the results in a file that `evaluate --out` wrote. Raises DataError."""
    data = read_json(path)
    if isinstance(data, list):
        return CocoResults(data)
    if isinstance(data, dict) and isinstance(data.get("results"), list):
        given = {key: data[key] for key in ("image_ids", "category_ids") if data.get(key) is not None}
        ids = {key: whole_numbers(value) for key, value in given.items()}
        if None not in ids.values():
            return CocoResults(data["results"], ids.get("image_ids"), ids.get("category_ids"))
    raise DataError(f"{path}: neither a COCO results list nor a file that `evaluate --out` wrote")


def check_results(
    results: Sequence[Any], sizes: Sizes, category_ids: Collection[int]
) -> list[dict[str, Any]]:
    """Return the results, with whole numbers as ids, and every segmentation that covers anything as compressed RLE.

    Raise DataError that names the first that cannot be measured.
    """
    checked = []
    for position, result in enumerate(results):
        if not isinstance(result, Mapping):
            raise DataError(f"result {position} is not an object")
        ids = {key: whole(result.get(key)) for key in ("image_id", "category_id")}
        found = {**result, **{key: number for key, number in ids.items() if number is not None}}
        if problem := _problem(found, sizes, category_ids):
            raise DataError(f"result {position} {problem}")
        try:
            mask = _compressed(found.get("segmentation"), sizes[found["image_id"]])
        except DataError as error:
            raise DataError(f"result {position} has a segmentation that cannot be used: {error}") from error
        checked.append(found | {"segmentation": mask})
    return checked


def _problem(result: Mapping[str, Any], sizes: Sizes, category_ids: Collection[int]) -> str | None:
    """Return what makes a result unusable."""
    if missing := {"image_id", "category_id", "bbox", "score"} - result.keys():
        return f"has no {', '.join(sorted(missing))}"
    image_id, category_id = result["image_id"], result["category_id"]
    if whole(image_id) not in sizes:
        return f"is for image {image_id!r}, which is not measured"
    if whole(category_id) not in category_ids:
        return f"is of category {category_id!r}, which the data do not have"
    if not _is_box(result["bbox"]):
        return f"has a bbox that is not 4 finite numbers: {str(result['bbox'])[:_SHOWN]}"
    if not are_finite([result["score"]]):
        return f"has a score that is not a finite number: {str(result['score'])[:_SHOWN]}"
    return None


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and are_finite(box)


def _compressed(given: Any, size: list[int]) -> dict[str, Any] | None:
    """Return a segmentation as compressed RLE, None if there is none. Raise DataError if it cannot be used."""
    if _is_rle(given, size):  # as nearly all are, so this must be fast
        return {"size": size, "counts": given["counts"]}
    height, width = size
    shape = segmentation.read(given, width, height)
    if shape is None:
        return None
    if isinstance(shape, tuple):
        shape = rle_codec.merge(rle_codec.frPyObjects(segmentation.coco_format(given, shape), height, width))
    return {"size": size, "counts": shape["counts"].decode("ascii")}


def _is_rle(given: Any, size: list[int]) -> bool:
    try:
        counts = rle.decompress(given["counts"])
        return bool(given["size"] == size and counts.sum() == math.prod(size))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
