"""Where a mask comes from, as JSON: its coarse mask, and the cells that were evaluated at each level."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.output.text import Text, array_text, object_text

if TYPE_CHECKING:
    from model.predict.explain import ExplainedLevel, MaskExplanation

DECIMALS = 3  # of a probability


def explanation_text(found: MaskExplanation) -> Text:
    """Return an explanation as an object."""
    probabilities = [round(float(value), DECIMALS) for value in found.coarse.ravel()]
    return object_text(
        {
            "coarse": {"side": len(found.coarse), "probabilities": probabilities},
            "levels": array_text(map(_level, found.levels)),
        }
    )


def _level(level: ExplainedLevel) -> Text:
    """Return a level with its cells as base64 of 32-bit numbers, the least significant byte first; null for all."""
    cells = None if level.cells is None else _in_base64(level.cells)
    return object_text({"side": level.side, "points": level.points, "cells": cells})


def _in_base64(cells: NDArray[np.uint32]) -> Text:
    return Text([b'"', base64.b64encode(cells.astype("<u4").tobytes()), b'"'])
