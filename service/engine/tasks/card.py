"""What /models says about a model that only some tasks have."""

from __future__ import annotations

from dataclasses import dataclass

from model.masks.palette import Colour


@dataclass(frozen=True)
class TaskCard:
    """Facts about a model. None: models of its task have no such thing."""

    sides: list[int] | None = None  # what `resolution` may be, besides `native`
    score_threshold: float | None = None  # least score of a box that the model finds
    max_detections: int | None = None
    palette: list[Colour] | None = None  # of label maps
