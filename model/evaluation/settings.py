"""How a checkpoint is to be evaluated, whatever its task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _ignore(_: str) -> None:
    """Drop a remark."""


@dataclass(frozen=True)
class EvaluationSettings:
    """Resolution and points as a request has them: their values differ from task to task."""

    resolution: str = "native"
    points: str = "auto"
    limit: int | None = None  # only the first images
    notify: Callable[[str], None] = _ignore  # takes remarks, before anything is run
