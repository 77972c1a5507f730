"""Where a mask comes from, of an answer that was asked to explain itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EvaluatedCells:
    """The cells of a level of a mask that the point head was evaluated at."""

    side: int
    cells: NDArray[np.int64] = field(repr=False)  # row · side + column, in ascending order

    @property
    def points(self) -> NDArray[np.float64]:
        """The centres [n, 2] of the cells as x and y in units of the box."""
        rows, columns = np.divmod(self.cells, self.side)
        return (np.stack([columns, rows], 1) + 0.5) / self.side


@dataclass(frozen=True)
class Explanation:
    """Where a mask comes from."""

    coarse: NDArray[np.float64] = field(repr=False)  # [s, s] foreground probability of the coarse mask
    levels: tuple[EvaluatedCells, ...]  # finished ones, the coarsest first


def parse_explanation(found: Mapping[str, Any] | None) -> Explanation | None:
    """Return an explanation, given as its JSON, as objects."""
    if found is None:
        return None
    side = found["coarse"]["side"]
    levels = tuple(EvaluatedCells(each["side"], _cells(each)) for each in found["levels"])
    return Explanation(np.array(found["coarse"]["probabilities"], float).reshape(side, side), levels)


def _cells(level: Mapping[str, Any]) -> NDArray[np.int64]:
    if level["cells"] is None:
        return np.arange(level["side"] ** 2)
    return np.frombuffer(base64.b64decode(level["cells"]), "<u4").astype(np.int64)
