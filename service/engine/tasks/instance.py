"""Instance masks: detections, or given boxes, and a mask for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from export.bundle import Bundle
from model.pointrend.levels import SIDES, START, total_work
from model.predict.instance import InstanceOptions, InstancePredictor
from service.engine.request import Request
from service.engine.tasks.card import TaskCard
from service.engine.tasks.instance_windows import PYRAMID_STRIDES, InstanceBoxes, InstanceWindows
from service.engine.tasks.instance_work import InstanceWork, check_boxes, check_work
from service.output.cost import shapes_forecast

DEGRADED_SIDE = 112  # the paper's AP is the same there as at 224 (Table 3)


class InstanceTask:
    """Instance segmentation by one model."""

    degraded_side = DEGRADED_SIDE

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        assert manifest.model.task == "instance"
        self._model = manifest.model
        self._fine_stride, self._channels = manifest.fine_stride, manifest.fine_channels
        self._predictor = cast("InstancePredictor", bundle.predictor)
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

    def maps_bytes(self, padded: tuple[int, int], *, keep: bool = False) -> int:
        """Return the bytes of the fine map. The coarse predictions of the instances are small beside it.

        With `keep`, those of the feature pyramid are added, if boxes of kept pictures can be segmented.
        """
        head, pixels = self._model.point_head, math.prod(padded)
        width = 0 if head is None else head.point_dim
        values = width * pixels // self._fine_stride**2
        if keep and self._predictor.box_runs is not None:
            values += sum(self._channels * pixels // stride**2 for stride in PYRAMID_STRIDES)
        return 4 * values

    def encode_seconds(self, options: InstanceOptions, format: str, width: int, height: int) -> float:
        """Return the usual seconds of encoding the masks of the given boxes, or of as many as are usually found."""
        return shapes_forecast(format, self._work.shapes(options, width, height), width, height).seconds

    def windows(self) -> InstanceWindows | None:
        """Return how windows are rendered, if there is a point head."""
        head = self._model.point_head
        if head is None:
            return None
        can = self._predictor.box_runs is not None  # bundles of older schemas have no graph for it
        return InstanceWindows(InstanceBoxes(self._predictor, head) if can else None)

    def card(self) -> TaskCard:
        """Return the sides that may be asked for, and the limits of detection."""
        sides: Sequence[int] = [START] if self._model.point_head is None else SIDES
        return TaskCard(list(sides), self._model.score_threshold, self._model.max_detections)
