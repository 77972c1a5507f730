"""Instances as JSON, for all formats that differ only in how they write a mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from model.masks.paste import crop_size
from model.masks.runs import Runs
from service.output.explanation import explanation_text
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
    return (_entry(found, mask, runs, left, write) for mask, runs in with_runs(found, left))


def with_runs(found: Found, left: Allowance) -> Iterator[tuple[Mask, Runs]]:
    """Return each instance with the runs of its mask. A bitmap of its box is never made.

    Raises CancelledError, TooDetailed or AnswerTooLarge as encoders do.
    """
    masks = cast("Instances", found.result).masks
    check_pixels(sum(math.prod(crop_size(mask.box.tolist(), found.width, found.height)) for mask in masks))
    for mask in masks:
        left.check()
        runs = mask.runs(found.width, found.height, left.check, left.runs)
        left.runs -= runs.ends.size // 2
        yield mask, runs


def shortest(value: float | np.floating[Any]) -> float:
    """Return the shortest decimal that is this float32: nothing is lost, and no digits of noise are added."""
    return float(str(np.float32(value)))


def _entry(found: Found, mask: Mask, runs: Runs, left: Allowance, write: WriteMask) -> dict[str, Any]:
    """Return the members of one instance."""
    category = found.categories[mask.category]
    explained = {} if mask.explanation is None else {"explain": explanation_text(mask.explanation)}
    return {
        "category_id": category.id,
        "category": category.name,
        "score": shortest(mask.score),
        "bbox": [shortest(value) for value in (*mask.box[:2], *(mask.box[2:] - mask.box[:2]))],
        "area": runs.area,
        "segmentation": write(runs, found.width, found.height, left),
        "resolution": mask.side,
        "points": "auto" if mask.points is None else mask.points,
        "truncated": mask.truncated,
        **explained,
    }
