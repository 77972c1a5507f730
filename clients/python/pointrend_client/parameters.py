"""What a client may ask for, as keyword arguments that a type checker knows (README.md explains each).

A test compares the names with those that the service knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

Box = Sequence[float | str]  # x0, y0, x1, y1 in image pixels, and perhaps the name of a class


class LabelMapParameters(TypedDict, total=False):
    """Parameters of every request. None means the same as leaving it out."""

    model: str | None
    resolution: int | str  # "native", or the side of masks; of a label map its height
    points: int | str  # "auto", or points per level
    classes: str | Sequence[str] | None  # names, as a list or separated by commas
    deadline_ms: int | None


class MaskParameters(LabelMapParameters, total=False):
    """Parameters of a request for masks of instances."""

    score: float
    max_instances: int
    boxes: str | Sequence[Box] | None  # a list, or the same as JSON
    explain: bool  # also say where each mask comes from
    keep: (
        int  # seconds for which the picture is kept, so that more can be asked of it (`render`, `KeptImage`)
    )


class WindowParameters(TypedDict, total=False):
    """Parameters of a request for a window of a mask, besides what is rendered and how large."""

    points: int | str  # "auto", or points per level
    deadline_ms: int | None


class CutoutParameters(MaskParameters, total=False):
    """Parameters of a request for a cut-out."""

    instance: int | None  # the only one to show, counted from 0; None: all
    crop: bool  # to the objects' extent


class Parameters(CutoutParameters, total=False):
    """All parameters."""

    format: str  # a name in service/output/formats.py
    image_id: int
