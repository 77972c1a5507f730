"""What a client may ask for, as keyword arguments that a type checker knows (README.md explains each)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

# The client needs nothing of the server's, torch above all: so these are not read from `options.py`; a test compares.
Format = Literal["rle", "rle_list", "polygon", "coco", "png"]
Box = Sequence[float | str]  # x0, y0, x1, y1 in pixels, and perhaps a class


class LabelMap(TypedDict, total=False):
    """Of every request. None is as good as absent."""

    model: str | None
    resolution: int | str  # "native", or a side; of a label map its height
    points: int | str  # "auto", or points per level
    classes: str | Sequence[str] | None  # names, as a list or comma-separated
    deadline_ms: int | None


class Masks(LabelMap, total=False):
    """Of a request for masks of instances."""

    score: float
    max_instances: int
    boxes: str | Sequence[Box] | None  # a list, or the same as JSON


class Parameters(Masks, total=False):
    """All there are."""

    format: Format
    image_id: int
