"""From masks to the JSON of an answer. Run lengths come straight from a mask's crop: no image-sized bitmap."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.bundle import Manifest
from model import rle
from model.categories import Category
from model.paste import Crop
from service.engine import Segmented
from service.masks import Mask
from service.options import Ask, Format

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """`payload` is ready for JSON, `body` is that. Seconds by stage, with "encode" and "total"."""

    payload: Json | list[Json]
    body: bytes
    seconds: dict[str, float]


def answer(found: Segmented, manifest: Manifest, ask: Ask, identity: str) -> Answer:
    """Encode every mask in the format asked for. "encode" excludes the JSON text itself, which carries it."""
    begin = time.monotonic()  # the event loop's clock
    instances = [
        _instance(mask, manifest.categories[mask.category], found.width, found.height, ask.format)
        for mask in found.masks
    ]
    end = time.monotonic()
    seconds = asdict(found.stages) | {"encode": end - begin, "total": end - found.started}
    if ask.format == "coco":
        return _answer([_result(instance, ask.image_id) for instance in instances], seconds)
    payload = {
        "id": identity,
        "model": manifest.name,
        "width": found.width,
        "height": found.height,
        "degraded": found.degraded,
        "instances": instances,
        "timings_ms": {stage: round(1000 * value, 2) for stage, value in seconds.items()},
    }
    return _answer(payload, seconds)


def _answer(payload: Json | list[Json], seconds: dict[str, float]) -> Answer:
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(payload, body, seconds)


def _instance(mask: Mask, category: Category, width: int, height: int, format: Format) -> Json:
    crop = mask.crop(width, height)
    return {
        "category_id": category.id,
        "category": category.name,
        "score": _shortest(np.float32(mask.score)),
        "bbox": [_shortest(value) for value in (*mask.box[:2], *(mask.box[2:] - mask.box[:2]))],
        "area": int(crop.bitmap.sum()),
        "segmentation": _segmentation(crop, width, height, format),
        "resolution": mask.side,
        "points": "auto" if mask.points is None else mask.points,
        "truncated": mask.truncated,
    }


def _segmentation(crop: Crop, width: int, height: int, format: Format) -> Json | list[list[int]]:
    if format == "polygon":
        return rle.polygons(crop)
    counts = rle.encode(crop, width, height)
    text: str | list[int] = counts.tolist() if format == "rle_list" else rle.compress(counts)
    return {"size": [height, width], "counts": text}


def _result(instance: Json, image_id: int) -> Json:
    keys = ("category_id", "bbox", "score", "segmentation")
    return {"image_id": image_id} | {key: instance[key] for key in keys}


def _shortest(value: np.float32) -> float:
    """The shortest decimal that is this float32: nothing is lost, and no noise digits are added."""
    return float(str(value))


def crops(answered: Sequence[Json]) -> list[Crop]:
    """The masks of answered instances of format rle or rle_list, each cut to what it covers."""
    return [_crop(instance["segmentation"]) for instance in answered]


def _crop(segmentation: Json) -> Crop:
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    runs = rle.decompress(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    x, y, w, h = rle.bounding_box(runs, height)
    return Crop(x, y, rle.decode(runs, width, height)[y : y + h, x : x + w])
