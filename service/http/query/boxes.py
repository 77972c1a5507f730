"""The parameter `boxes`: boxes to segment instead of detecting any."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.config.categories import Category
from model.predict.predictor import Prompt
from service.engine.errors import ParameterError
from service.http.query.echo import listed

MAX_BOXES = 1000
MAX_CHARACTERS = 256 * MAX_BOXES  # of the text
# Brackets and commas bound the objects that JSON becomes. A box needs five commas, and its class may have some.
MAX_BRACKETS = MAX_BOXES + 1
MAX_COMMAS = 6 * MAX_BOXES
_LARGEST = float(np.finfo(np.float32).max)


def parse_boxes(text: str, categories: Sequence[Category]) -> tuple[Prompt, ...]:
    """Return the boxes in a JSON text. Raises ParameterError that names the first wrong one by its number.

    A text that is too long, or of too many parts, is refused before it becomes objects.
    """
    if len(text) > MAX_CHARACTERS or text.count("[") > MAX_BRACKETS or text.count(",") > MAX_COMMAS:
        raise _too_many()
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError("boxes", 'not JSON; send [[x0, y0, x1, y1, "class"?], …]') from error
    if not isinstance(boxes, list):
        raise ParameterError("boxes", 'must be a list: [[x0, y0, x1, y1, "class"?], …]')
    if len(boxes) > MAX_BOXES:
        raise _too_many()
    known = indices(categories)
    return tuple(_box(box, number, known) for number, box in enumerate(boxes, 1))


def indices(categories: Sequence[Category]) -> dict[str, int]:
    """Return the index of each category by its name; of two of one name, the first."""
    return {category.name: index for index, category in reversed(list(enumerate(categories)))}


def index_of(name: str, known: Mapping[str, int], parameter: str) -> int:
    """Return the index of the category of this name. Raises ParameterError if there is none."""
    if name not in known:
        allowed = listed(sorted(known, key=known.__getitem__))
        raise ParameterError(parameter, f"there is no class {name[:80]!r}; allowed: {allowed}")
    return known[name]


def _too_many() -> ParameterError:
    return ParameterError(
        "boxes",
        f'at most {MAX_BOXES} are allowed, [x0, y0, x1, y1, "class"?] each, in {MAX_CHARACTERS} characters',
    )


def _box(box: Any, number: int, known: Mapping[str, int]) -> Prompt:
    if not isinstance(box, list) or len(box) not in (4, 5):
        raise ParameterError("boxes", f'box {number} must be [x0, y0, x1, y1] or [x0, y0, x1, y1, "class"]')
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box[:4]):
        raise ParameterError("boxes", f"box {number}: x0, y0, x1 and y1 must be numbers")
    if not all(abs(v) <= _LARGEST and math.isfinite(v) for v in box[:4]):
        raise ParameterError("boxes", f"box {number}: x0, y0, x1 and y1 must be finite")
    x0, y0, x1, y1 = (float(v) for v in box[:4])
    if x1 <= x0 or y1 <= y0:
        raise ParameterError("boxes", f"box {number}: x1 must be above x0 and y1 above y0")
    if len(box) == 4:
        return Prompt((x0, y0, x1, y1))
    if not isinstance(box[4], str):
        raise ParameterError("boxes", f"box {number}: its class must be a name")
    return Prompt((x0, y0, x1, y1), index_of(box[4], known, "boxes"))
