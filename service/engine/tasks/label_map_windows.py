"""Windows of label maps of kept pictures: what keeping takes, and what a window may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from model.pointrend.label_map_levels import total_work, window_start
from model.predict.kept.label_map import KeptLabelMap, keep_label_map, label_map_bytes
from model.predict.kept.picture import KeptPicture
from model.predict.kept.window import WindowOptions
from model.predict.label_map import LabelMapPrediction
from model.predict.predictor import Prediction
from service.engine.errors import ParameterError
from service.engine.tasks.windows import check_window, check_window_work
from service.output.cost import LabelMapShape, label_map_forecast
from service.output.formats import LABEL_WINDOW

LEAST_ROWS = 2  # of a window: its levels are counted by their height


@dataclass(frozen=True)
class LabelMapWindows:
    """Keeps what the label map of a picture is rendered from, and knows which windows of it may be rendered."""

    classes: int
    kind: ClassVar[str] = LABEL_WINDOW
    boxes: ClassVar[None] = None  # label maps have none

    def kept_bytes(self, prediction: Prediction, *, boxes: bool) -> int:
        """Return the bytes that `keep` takes."""
        return label_map_bytes(cast("LabelMapPrediction", prediction))

    def keep(self, prediction: Prediction, *, boxes: bool) -> KeptLabelMap:
        """Return copies of what a label map is rendered from, where that is."""
        return keep_label_map(cast("LabelMapPrediction", prediction))

    def check(self, picture: KeptPicture, options: WindowOptions, max_points: int) -> None:
        """Raise ParameterError if there is no such window, or it needs more work than `max_points`."""
        if options.instance is not None:
            raise ParameterError("instance", "is for masks of instances; leave it out for a label map")
        if options.height < LEAST_ROWS:
            raise ParameterError("height", f"of a window of a label map must be at least {LEAST_ROWS}")
        check_window(picture, options)
        check_window_work(self.work(picture, options), max_points)

    def work(self, picture: KeptPicture, options: WindowOptions) -> int:
        """Return the work of a window in points, searching included."""
        kept, target = cast("KeptLabelMap", picture), (options.height, options.width)
        span = kept.span(options)
        return total_work(window_start(span, kept.stride, target), target, span, options.points)

    def encode_seconds(self, options: WindowOptions, format: str) -> float:
        """Return the usual seconds of encoding a window."""
        shape = LabelMapShape((options.height, options.width), self.classes)
        return label_map_forecast(format, shape, options.width, options.height).seconds
