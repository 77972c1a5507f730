"""What a comparison with a recorded run measures: figures, each with the bar that it must meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.predict.resize import resize
from tests.parity.goldens import Golden, load_any


@dataclass(frozen=True)
class Figure:
    """One measured value and its bar."""

    what: str
    value: float
    bar: float
    at_least: bool = False  # the bar is the least that is allowed, not the most

    @property
    def good(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar


Stage = Callable[[Golden], list[Figure]]
Chain = Callable[[Golden, Any], list[Figure]]  # of a predictor


def resized(golden: Golden) -> list[Figure]:
    """Measure the resizing of the picture."""
    own = resize(golden.image, load_any(golden.model).config.preprocessing)[:, :, ::-1]
    return [Figure("resized input: different bytes", float((own != golden.arrays["resized_bgr"]).sum()), 0)]


def points_figures(name: str, same: float, difference: float) -> list[Figure]:
    """Return the figures of one level of a render: which points were chosen, and the logits there."""
    return [
        Figure(f"{name}: same points", same, 0.999, at_least=True),
        Figure(f"{name}: logits at points, relative", difference, 1e-4),
    ]
