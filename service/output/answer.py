"""From masks to an answer's body. Run lengths come straight from a mask's crop: no image-sized bitmap."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.manifest import Manifest
from model.config.categories import Category
from model.masks import rle
from model.masks.overlay import palette_image
from model.masks.palette import Colour
from model.masks.paste import Crop
from model.predict.label_map import segments
from service.engine.engine import Segmented
from service.engine.results import LabelMap, Mask
from service.http.parameters import Ask, Format

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """`payload` is ready for JSON and `body` is that, or both are a picture.

    Seconds by stage, with "encode" and "total".
    """

    payload: Json | list[Json] | bytes
    body: bytes
    seconds: dict[str, float]
    media_type: str = "application/json"


def answer(
    found: Segmented,
    manifest: Manifest,
    ask: Ask,
    identity: str,
    left: threading.Event | None = None,
) -> Answer:
    """Encode what was found as asked for. "encode" excludes the JSON text itself, which carries it.

    Raises CancelledError between two instances if `left` is set: whoever asked has left.
    """
    begin = time.monotonic()  # the event loop's clock
    if isinstance(found.found, LabelMap):
        return _label_answer(found, found.found, manifest, ask, identity, begin)
    instances = []
    for mask in found.masks:
        if left is not None and left.is_set():
            raise CancelledError
        category = manifest.categories[mask.category]
        instances.append(_instance(mask, category, found.width, found.height, ask.format))
    seconds = _seconds(found, begin)
    if ask.format == "coco":
        return _answer([_result(instance, ask.image_id) for instance in instances], seconds)
    return _answer(_payload(found, manifest.name, identity, {"instances": instances}, seconds), seconds)


def _label_answer(
    found: Segmented, label_map: LabelMap, manifest: Manifest, ask: Ask, identity: str, begin: float
) -> Answer:
    """A segment for each class present, in the image's size; or the map as a picture, in the size asked for."""
    if ask.format == "png":
        picture = _png(label_map.labels(*label_map.asked), manifest.palette)
        return Answer(picture, picture, _seconds(found, begin), "image/png")
    height, width = found.height, found.width
    listed = [
        {
            "category_id": manifest.categories[segment.category].id,
            "category": manifest.categories[segment.category].name,
            "area": segment.area,
            "segmentation": _runs(segment.counts, width, height, ask.format),
        }
        for segment in segments(label_map.labels(height, width))
    ]
    rendered = {
        "resolution": label_map.side,
        "points": "auto" if label_map.points is None else label_map.points,
        "truncated": label_map.truncated,
        "segments": listed,
    }
    seconds = _seconds(found, begin)
    return _answer(_payload(found, manifest.name, identity, rendered, seconds), seconds)


def _payload(found: Segmented, model: str, identity: str, rendered: Json, seconds: dict[str, float]) -> Json:
    return {
        "id": identity,
        "model": model,
        "width": found.width,
        "height": found.height,
        "degraded": found.degraded,
        **rendered,
        "timings_ms": {stage: round(1000 * value, 2) for stage, value in seconds.items()},
    }


def _seconds(found: Segmented, begin: float) -> dict[str, float]:
    """By stage; encoding began at `begin` and ends now."""
    end = time.monotonic()
    return asdict(found.stages) | {"encode": end - begin, "total": end - found.started}


def _png(labels: NDArray[np.uint8], palette: Sequence[Colour]) -> bytes:
    file = io.BytesIO()
    # Half the time of the usual level 6; label maps are small either way.
    palette_image(labels, palette).save(file, "PNG", compress_level=3)
    return file.getvalue()


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
    return _runs(rle.encode(crop, width, height), width, height, format)


def _runs(counts: rle.Counts, width: int, height: int, format: Format) -> Json:
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
