"""Instances as JSON, for all formats that differ only in how they write a mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from model.masks.paste import crop_size
from model.masks.runs import Runs, pasted
from service.output.format import Encoder, Found
from service.output.limits import Allowance, check_pixels
from service.output.text import Text, array_text, object_text

if TYPE_CHECKING:
    from model.predict.instance import Instances, Mask

# Writes down the runs of a mask in an image of the given width and height.
WriteMask = Callable[[Runs, int, int, Allowance], Text]


def encoder(write: WriteMask) -> Encoder:
    """Return the encoder of an enveloped format that writes each mask with `write`."""

    def encode(found: Found, left: Allowance) -> Mapping[str, Any]:
        return {"instances": array_text(map(object_text, entries(found, left, write)))}

    return encode


def entries(found: Found, left: Allowance, write: WriteMask) -> Iterator[dict[str, Any]]:
    """Return the members of each instance, best first or in the order of the given boxes.

    Raises CancelledError, TooDetailed or AnswerTooLarge as encoders do.
    """
    masks = cast("Instances", found.result).masks
    check_pixels(sum(math.prod(crop_size(mask.box.tolist(), found.width, found.height)) for mask in masks))
    for mask in masks:
        left.check()
        yield _entry(found, mask, left, write)


def _entry(found: Found, mask: Mask, left: Allowance, write: WriteMask) -> dict[str, Any]:
    """Return the members of one instance. Only its runs are kept, never a bitmap of its box."""
    category = found.categories[mask.category]
    runs = pasted(mask.pasting(found.width, found.height), left.check, left.runs)
    left.runs -= runs.ends.size // 2
    return {
        "category_id": category.id,
        "category": category.name,
        "score": _shortest(np.float32(mask.score)),
        "bbox": [_shortest(value) for value in (*mask.box[:2], *(mask.box[2:] - mask.box[:2]))],
        "area": runs.area,
        "segmentation": write(runs, found.width, found.height, left),
        "resolution": mask.side,
        "points": "auto" if mask.points is None else mask.points,
        "truncated": mask.truncated,
    }


def _shortest(value: np.float32) -> float:
    """Return the shortest decimal that is this float32: nothing is lost, and no digits of noise are added."""
    return float(str(value))
