"""What is asked of kept pictures of instances: windows of their masks, and masks of further boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from model.config.instance import PointRendConfig
from model.pointrend.levels import total_work
from model.predict.instance import InstanceOptions, InstancePrediction, InstancePredictor
from model.predict.kept.instance import KeptInstance, KeptInstances, WindowOptions, bytes_of, keep
from model.predict.kept.picture import KeptPicture
from model.predict.predictor import Prediction, Prepared
from service.engine.errors import NotKept, ParameterError

MAX_WINDOW_SIDE = 2048  # pixels of a rendered window, across and down
LEAST_EXTENT = 0.01  # pixels of the picture, across and down; coordinates are not exact enough for less
SLACK = 0.01  # pixels that a window may reach beyond the picture, because of rounding
PYRAMID_STRIDES = (4, 8, 16, 32)  # of the features from which boxes are segmented, in network-input pixels


@dataclass(frozen=True)
class InstanceWindows:
    """Keeps what a coarse pass computed of a picture, and knows what may be asked of it then."""

    predictor: InstancePredictor
    head: PointRendConfig

    @property
    def boxes(self) -> bool:
        """Whether boxes of kept pictures can be segmented: bundles of older schemas have no graph for it."""
        return self.predictor.box_runs is not None

    def kept_bytes(self, prediction: Prediction, *, boxes: bool) -> int:
        """Return the bytes that `keep` takes."""
        found = cast("InstancePrediction", prediction)
        return bytes_of([each.source for each in _instances(found)], found.features if boxes else None)

    def keep(self, prediction: Prediction, *, boxes: bool) -> KeptInstances:
        """Return copies of what the instances of a prediction are rendered from, and boxes segmented, where that is."""
        found = cast("InstancePrediction", prediction)
        return keep(_instances(found), found.width, found.height, found.features if boxes else None)

    def prepared(self, picture: KeptPicture, options: InstanceOptions) -> Prepared:
        """Return a kept picture with the boxes that are to be segmented.

        Raise ParameterError if the model cannot segment them, NotKept if too little is kept of the picture.
        """
        if not self.boxes:
            raise ParameterError(
                "kept",
                "boxes of kept pictures need a model that was exported with boxes.onnx: export it again",
            )
        if picture.features is None:
            raise NotKept(
                "the picture is kept for windows of its masks alone, because there is no room for more: send it again "
                "with the boxes"
            )
        assert options.prompts is not None
        return picture.features.prepared(options.prompts, keep=options.keep)

    def boxes_bytes(self, options: InstanceOptions) -> int:
        """Return the bytes of the coarse predictions of the boxes that are to be segmented."""
        columns = self.head.num_point_fc * self.head.point_dim + 1
        return 4 * len(options.prompts or ()) * self.head.side**2 * columns

    def segmented(
        self, picture: KeptPicture, prepared: Prepared, options: InstanceOptions
    ) -> InstancePrediction:
        """Run a box pass over a kept picture. Return its prediction, yet to be rendered."""
        assert picture.features is not None
        coarse = self.predictor.boxes(picture.features, prepared)
        return self.predictor.begin(coarse, 0, prepared, options)

    def check(self, picture: KeptPicture, options: WindowOptions, max_points: int) -> None:
        """Raise ParameterError if there is no such instance or window, or it needs more work than `max_points`."""
        count = len(cast("KeptInstances", picture).instances)
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


def _instances(prediction: InstancePrediction) -> list[KeptInstance]:
    return [
        KeptInstance(region.category, region.score, tuple(region.box.tolist()), region.render.source)
        for region in prediction.regions
    ]
