"""What a window of a kept picture is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WindowOptions:
    """What part of a picture is rendered, and how large."""

    instance: int | None  # whose mask: index into what was found; None: the label map
    window: tuple[float, float, float, float]  # (x0, y0, x1, y1) in picture pixels
    width: int  # of the rendered window, in pixels
    height: int
    points: int | None = None  # per level; None: as many as the level needs
