"""Windows of the masks of kept pictures: what keeping takes, and what a window may ask for."""

from __future__ import annotations

from typing import cast

from model.pointrend.levels import total_work
from model.predict.instance import InstancePrediction
from model.predict.kept import KeptInstance, KeptPicture, WindowOptions, bytes_of, keep
from model.predict.predictor import Prediction
from service.engine.errors import ParameterError

MAX_WINDOW_SIDE = 2048  # pixels of a rendered window, across and down
LEAST_EXTENT = 0.01  # pixels of the picture, across and down; coordinates are not exact enough for less
SLACK = 0.01  # pixels that a window may reach beyond the picture, because of rounding


class InstanceWindows:
    """Keeps what a coarse pass found in a picture, and knows which windows of its masks may be rendered."""

    def kept_bytes(self, prediction: Prediction) -> int:
        """Return the bytes that `keep` takes."""
        return bytes_of([found.source for found in _instances(prediction)])

    def keep(self, prediction: Prediction) -> KeptPicture:
        """Return copies of what the instances of a prediction are rendered from, where that is."""
        found = cast("InstancePrediction", prediction)
        return keep(_instances(prediction), found.width, found.height)

    def check(self, picture: KeptPicture, options: WindowOptions, max_points: int) -> None:
        """Raise ParameterError if there is no such instance or window, or it needs more work than `max_points`."""
        count = len(picture.instances)
        if options.instance >= count:
            numbers = f"they are 0 to {count - 1}" if count else "none was found in it"
            raise ParameterError("instance", f"the picture has no instance {options.instance}; {numbers}")
        x0, y0, x1, y1 = options.window
        right, bottom = picture.width + SLACK, picture.height + SLACK
        within = min(x0, y0) >= -SLACK and x1 <= right and y1 <= bottom
        if not (within and x1 - x0 >= LEAST_EXTENT and y1 - y0 >= LEAST_EXTENT):
            raise ParameterError(
                "window",
                f"must be x0,y0,x1,y1 within the {picture.width} × {picture.height} picture, at least {LEAST_EXTENT} "
                "pixels across and down",
            )
        if (work := self.work(options)) > max_points:
            raise ParameterError(
                "points",
                f"the window may take the work of {work} points, and {max_points} are allowed: lower points, width or "
                "height",
            )

    def work(self, options: WindowOptions) -> int:
        """Return the work of a window in points, if all of it lies in the instance's box and is as high as wide."""
        return total_work(max(options.width, options.height), options.points)


def _instances(prediction: Prediction) -> list[KeptInstance]:
    return [
        KeptInstance(region.category, region.score, tuple(region.box.tolist()), region.render.source)
        for region in cast("InstancePrediction", prediction).regions
    ]
