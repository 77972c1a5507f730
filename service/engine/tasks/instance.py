"""Instance masks: detections, or given boxes, and a mask for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from export.bundle import Bundle
from model.pointrend.levels import SIDES, START, total_work
from model.predict.instance import InstanceOptions
from service.engine.request import Request
from service.engine.tasks.card import TaskCard
from service.engine.tasks.instance_work import InstanceWork, check_boxes, check_work
from service.engine.tasks.windows import InstanceWindows
from service.output.cost import shapes_forecast

DEGRADED_SIDE = 112  # the paper's AP is the same there as at 224 (Table 3)


class InstanceTask:
    """Instance segmentation by one model."""

    degraded_side = DEGRADED_SIDE

    def __init__(self, bundle: Bundle) -> None:
        assert bundle.manifest.model.task == "instance"
        self._model = bundle.manifest.model
        self._fine_stride = bundle.manifest.fine_stride
        self._work = InstanceWork()

    def check(self, options: InstanceOptions, max_points: int) -> None:
        """Raise ParameterError if a request may need more work than `max_points`."""
        check_work(options, self._model.max_detections, max_points)

    def check_size(self, options: InstanceOptions, width: int, height: int, max_points: int) -> None:
        """Raise ParameterError if a given box is outside the image."""
        check_boxes(options.prompts or (), width, height)

    def expected_work(self, options: InstanceOptions, max_side: int | None) -> float:
        """Return the work that a request's masks are expected to take, in points."""
        return self._work.expected(options, max_side)

    def learn(self, request: Request) -> None:
        """Take into account how many instances the coarse pass found, and how large they are."""
        points = request.options.points
        self._work.learn(
            request.options, [total_work(render.target, points) for render in request.prediction.renders]
        )

    def maps_bytes(self, padded: tuple[int, int]) -> int:
        """Return the bytes of the fine map. The coarse predictions of the instances are small beside it."""
        head = self._model.point_head
        width = 0 if head is None else head.point_dim
        return 4 * width * math.prod(padded) // self._fine_stride**2

    def encode_seconds(self, options: InstanceOptions, format: str, width: int, height: int) -> float:
        """Return the usual seconds of encoding the masks of the given boxes, or of as many as are usually found."""
        return shapes_forecast(format, self._work.shapes(options, width, height), width, height).seconds

    def windows(self) -> InstanceWindows | None:
        """Return how windows are rendered, if there is a point head."""
        return None if self._model.point_head is None else InstanceWindows()

    def card(self) -> TaskCard:
        """Return the sides that may be asked for, and the limits of detection."""
        sides: Sequence[int] = [START] if self._model.point_head is None else SIDES
        return TaskCard(list(sides), self._model.score_threshold, self._model.max_detections)
