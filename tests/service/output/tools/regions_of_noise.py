"""Masks of every shape, and what they look like as bitmaps, for the tests of formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.masks.palette import VOID
from model.predict.instance import Instances
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import FORMATS
from tests.service.output.test_encode import CATEGORIES, found, label_map, mask

_BOX = st.tuples(*[st.floats(-15, 50, width=32)] * 2, *[st.floats(0.125, 70, width=32)] * 2)
_MASK = st.tuples(st.sampled_from([7, 28]), _BOX, st.integers(0, 1000), st.sampled_from([-3.0, -0.5, -5.5]))
CASES = (st.lists(_MASK, max_size=3), st.integers(1, 60), st.integers(1, 60))


def instances(drawn: list[tuple[int, tuple[float, ...], int, float]], width: int, height: int) -> Found:
    """Return masks of noise: of many parts, with holes, touching themselves; some are empty."""
    masks = [mask(side, (x, y, x + w, y + h), seed, least) for side, (x, y, w, h), seed, least in drawn]
    return found(Instances(tuple(masks)), width, height)


def classes(width: int, height: int, seed: int) -> Found:
    """Return a label map of noise."""
    return found(label_map(20, 28, seed), width, height, "semantic")


def bitmaps(case: Found) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return the index of the class and the whole bitmap [height, width] of each instance or class."""
    result: Any = case.result
    if case.task == "semantic":
        labels = result.labels(case.height, case.width)
        return [(int(label), labels == label) for label in np.unique(labels) if label != VOID]
    whole = []
    for each in result.masks:
        crop = each.crop(case.width, case.height)
        bitmap = np.zeros((case.height, case.width), np.bool_)
        rows, columns = crop.bitmap.shape
        bitmap[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bitmap
        whole.append((each.category, bitmap))
    return whole


def answer(case: Found, format: str) -> Any:
    """Return the answer, as Python has it."""
    return encode(case, FORMATS[format], {}, 0.0).payload


__all__ = ["CASES", "CATEGORIES", "answer", "bitmaps", "classes", "instances"]
