"""What windows of kept pictures may ask for, whatever the task."""

from __future__ import annotations

from model.predict.kept.picture import KeptPicture
from model.predict.kept.window import WindowOptions
from service.engine.errors import ParameterError

MAX_WINDOW_SIDE = 2048  # pixels of a rendered window, across and down
LEAST_EXTENT = 0.01  # pixels of the picture, across and down; coordinates are not exact enough for less
SLACK = 0.01  # pixels that a window may reach beyond the picture, because of rounding


def check_window(picture: KeptPicture, options: WindowOptions) -> None:
    """Raise ParameterError if a window is not within its picture, or too small."""
    x0, y0, x1, y1 = options.window
    right, bottom = picture.width + SLACK, picture.height + SLACK
    within = min(x0, y0) >= -SLACK and x1 <= right and y1 <= bottom
    if not (within and x1 - x0 >= LEAST_EXTENT and y1 - y0 >= LEAST_EXTENT):
        raise ParameterError(
            "window",
            f"must be x0,y0,x1,y1 within the {picture.width} × {picture.height} picture, at least {LEAST_EXTENT} "
            "pixels across and down",
        )


def check_window_work(work: int, max_points: int) -> None:
    """Raise ParameterError if a window may take more work than is allowed."""
    if work > max_points:
        raise ParameterError(
            "points",
            f"the window may take the work of {work} points, and {max_points} are allowed: lower points, width or "
            "height",
        )
