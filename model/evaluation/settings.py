"""How a checkpoint is to be evaluated, whatever its task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _ignore(_: str) -> None:
    """Drop a remark."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What an evaluation may choose. Resolution and points are as in a request: their values differ by task."""

    resolution: str = "native"
    points: str = "auto"
    limit: int | None = None  # only the first images
    true_boxes: bool = False  # of instances: masks are predicted in the annotated boxes
    one_class: bool = False  # of instances: all categories count as the checkpoint's only class
    notify: Callable[[str], None] = _ignore  # takes remarks, before anything is run
