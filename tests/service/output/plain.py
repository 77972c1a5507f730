"""Answers made the plain way: whole bitmaps, lists of numbers, and one `json.dumps`. Slow, with the same bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.masks import rle
from model.masks.palette import VOID
from model.masks.paste import Crop, paste_soft
from service.output.format import Found
from tests.model.masks import plain_polygon


def body(found: Found, format: str, timings: dict[str, float]) -> bytes:
    """Return the JSON text of an answer."""
    content = (_label_map if found.task == "semantic" else _instances)(found, format)
    answer: Any = content
    if format != "coco":
        head = {"id": found.request_id, "model": found.model, "width": found.width, "height": found.height}
        answer = {**head, "degraded": found.degraded, **content, "timings_ms": timings}
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def counts_of(bitmap: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a whole bitmap, zeros first, down the columns."""
    flat = bitmap.ravel(order="F")
    bounds = [0, *(np.flatnonzero(np.diff(flat.astype(np.int8))) + 1).tolist(), flat.size]
    return ([0] if flat[0] else []) + np.diff(bounds).tolist()


def _instances(found: Found, format: str) -> Any:
    entries = []
    for mask in found.result.parts:
        soft = paste_soft(mask.logits.sigmoid().numpy(), mask.box.tolist(), found.width, found.height)
        crop = Crop(soft.left, soft.top, soft.probability >= 0.5)
        category = found.categories[mask.category]
        x0, y0, x1, y1 = mask.box
        entries.append(
            {
                "category_id": category.id,
                "category": category.name,
                "score": float(str(np.float32(mask.score))),
                "bbox": [float(str(value)) for value in (x0, y0, x1 - x0, y1 - y0)],
                "area": int(crop.bitmap.sum()),
                "segmentation": _segmentation(crop, found, format),
                "resolution": mask.side,
                "points": "auto" if mask.points is None else mask.points,
                "truncated": mask.truncated,
            }
        )
    keys = ("category_id", "bbox", "score", "segmentation")
    if format == "coco":
        return [{"image_id": found.image_id, **{key: entry[key] for key in keys}} for entry in entries]
    return {"instances": entries}


def _segmentation(crop: Crop, found: Found, format: str) -> Any:
    if format == "polygon":
        return plain_polygon.polygons(crop) if crop.bitmap.size else []
    h, w = crop.bitmap.shape
    bitmap = np.zeros((found.height, found.width), np.bool_)
    bitmap[crop.top : crop.top + h, crop.left : crop.left + w] = crop.bitmap
    return _written(counts_of(bitmap), found, format)


def _label_map(found: Found, format: str) -> Any:
    result: Any = found.result
    labels = result.labels(found.height, found.width)
    segments = [
        {
            "category_id": found.categories[label].id,
            "category": found.categories[label].name,
            "area": int((labels == label).sum()),
            "segmentation": _written(counts_of(labels == label), found, format),
        }
        for label in np.unique(labels).tolist()
        if label != VOID
    ]
    points = "auto" if result.points is None else result.points
    head = {"resolution": result.side, "points": points, "truncated": result.truncated}
    return {**head, "segments": segments}


def _written(counts: list[int], found: Found, format: str) -> Any:
    text = counts if format == "rle_list" else rle.compress(np.array(counts))
    return {"size": [found.height, found.width], "counts": text}
