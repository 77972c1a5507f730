"""What is asked of kept pictures of instances: windows of their masks, and masks of further boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from model.config.instance import PointRendConfig
from model.pointrend.levels import total_work
from model.predict.instance import InstanceOptions, InstancePrediction, InstancePredictor
from model.predict.kept.instance import KeptInstance, KeptInstances, bytes_of, keep
from model.predict.kept.picture import KeptPicture
from model.predict.kept.window import WindowOptions
from model.predict.predictor import Prediction, Prepared
from service.engine.errors import NotKept, ParameterError
from service.engine.tasks.windows import check_window, check_window_work
from service.output.cost import window_forecast
from service.output.formats import WINDOW

PYRAMID_STRIDES = (4, 8, 16, 32)  # of the features from which boxes are segmented, in network-input pixels


@dataclass(frozen=True)
class InstanceWindows:
    """Keeps what a coarse pass computed of a picture, and knows which windows of its masks may be rendered."""

    kind: ClassVar[str] = WINDOW
    boxes: InstanceBoxes | None

    def kept_bytes(self, prediction: Prediction, *, boxes: bool) -> int:
        """Return the bytes that `keep` takes."""
        found = cast("InstancePrediction", prediction)
        return bytes_of([each.source for each in _instances(found)], found.features if boxes else None)

    def keep(self, prediction: Prediction, *, boxes: bool) -> KeptInstances:
        """Return copies of what the instances of a prediction are rendered from, and boxes segmented, where that is."""
        found = cast("InstancePrediction", prediction)
        return keep(_instances(found), found.width, found.height, found.features if boxes else None)

    def check(self, picture: KeptPicture, options: WindowOptions, max_points: int) -> None:
        """Raise ParameterError if there is no such instance or window, or it needs more work than `max_points`."""
        count = len(cast("KeptInstances", picture).instances)
        numbers = f"they are 0 to {count - 1}" if count else "none was found in it"
        if options.instance is None:
            raise ParameterError("instance", f"is needed: choose an instance of the picture; {numbers}")
        if options.instance >= count:
            raise ParameterError("instance", f"the picture has no instance {options.instance}; {numbers}")
        check_window(picture, options)
        check_window_work(self.work(picture, options), max_points)

    def work(self, picture: KeptPicture, options: WindowOptions) -> int:
        """Return the work of a window in points, if all of it lies in the instance's box and is as high as wide."""
        return total_work(max(options.width, options.height), options.points)

    def encode_seconds(self, options: WindowOptions, format: str) -> float:
        """Return the usual seconds of encoding a window."""
        return window_forecast(options.width, options.height).seconds


@dataclass(frozen=True)
class InstanceBoxes:
    """Segments boxes of kept pictures."""

    predictor: InstancePredictor
    head: PointRendConfig

    def prepared(self, picture: KeptPicture, options: InstanceOptions) -> Prepared:
        """Return a kept picture with the boxes that are to be segmented. Raise NotKept if too little is kept of it."""
        if picture.features is None:
            raise NotKept(
                "the picture is kept for windows of its masks alone, because there is no room for more: send it again "
                "with the boxes"
            )
        assert options.prompts is not None
        return picture.features.prepared(options.prompts, keep=options.keep)

    def maps_bytes(self, options: InstanceOptions) -> int:
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


def _instances(prediction: InstancePrediction) -> list[KeptInstance]:
    return [
        KeptInstance(region.category, region.score, tuple(region.box.tolist()), region.render.source)
        for region in prediction.regions
    ]
