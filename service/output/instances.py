"""Instances as JSON, for all formats that differ only in how they write a mask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from model.masks.paste import Crop
from service.output.format import Encoder, Found, Json

if TYPE_CHECKING:
    from model.predict.instance import Instances, Mask

# Writes down the crop of a mask in an image of the given width and height.
WriteMask = Callable[[Crop, int, int], Any]


def encoder(write: WriteMask) -> Encoder:
    """Return the encoder of an enveloped format that writes each mask with `write`."""

    def encode(found: Found, abandoned: threading.Event) -> Json:
        return {"instances": entries(found, abandoned, write)}

    return encode


def entries(found: Found, abandoned: threading.Event, write: WriteMask) -> list[Json]:
    """Return an entry for each instance, best first or in the order of the given boxes.

    Raises CancelledError between two instances if `abandoned` is set.
    """
    listed = []
    for mask in cast("Instances", found.result).masks:
        if abandoned.is_set():
            raise CancelledError
        listed.append(entry(found, mask, write))
    return listed


def entry(found: Found, mask: Mask, write: WriteMask) -> Json:
    """Return one instance as JSON. Only the mask's own box is ever drawn, never a bitmap of the image's size."""
    category = found.categories[mask.category]
    crop = mask.crop(found.width, found.height)
    return {
        "category_id": category.id,
        "category": category.name,
        "score": _shortest(np.float32(mask.score)),
        "bbox": [_shortest(value) for value in (*mask.box[:2], *(mask.box[2:] - mask.box[:2]))],
        "area": int(crop.bitmap.sum()),
        "segmentation": write(crop, found.width, found.height),
        "resolution": mask.side,
        "points": "auto" if mask.points is None else mask.points,
        "truncated": mask.truncated,
    }


def _shortest(value: np.float32) -> float:
    """Return the shortest decimal that is this float32: nothing is lost, and no digits of noise are added."""
    return float(str(value))
