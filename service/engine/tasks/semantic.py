"""Label maps: the class of every pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

from export.bundle import Bundle
from model.pointrend.label_map_levels import Size, total_points, total_work
from model.predict.label_map import LabelMapOptions, LabelMapPrediction, target_size
from model.predict.resize import resized_size
from service.engine.errors import ParameterError
from service.engine.queue.cost import Mean
from service.engine.request import Request
from service.engine.tasks.card import TaskCard
from service.engine.tasks.label_map_windows import LabelMapWindows
from service.output.cost import LabelMapShape, label_map_forecast

MAX_ROW_VALUES = 2**24  # pixels of a row times classes: the least that is computed at a time, in 4 bytes each
# Points of a whole render: of the coarse prediction's size, the target, the image's extent in the network's input, and
# the points per level.
_Total = Callable[[Size, Size, tuple[float, float], int | None], int]


class SemanticTask:
    """Semantic segmentation by one model."""

    def __init__(self, bundle: Bundle) -> None:
        assert bundle.manifest.model.task == "semantic"
        self._model = bundle.manifest.model
        self._pixels = bundle.manifest.preprocessing
        self._classes, self._fine_stride = len(bundle.manifest.categories), bundle.manifest.fine_stride
        self.degraded_side = self._pixels.short_edge // 2  # a level above the stride of 4
        # Points of a label map in its image's own size. The guess is a photograph's of the network's largest input.
        self._native = Mean(self._total(total_work, self._largest, self._largest, None))

    def check(self, options: LabelMapOptions, max_points: int) -> None:
        """Nothing is known before the size of the image: see `check_size`."""

    def check_size(self, options: LabelMapOptions, width: int, height: int, max_points: int) -> None:
        """Raise ParameterError if the label map of such an image would be too large, or take too many points."""
        try:
            target = target_size(height, width, options.resolution)
        except ValueError as error:
            raise ParameterError("resolution", str(error)) from error
        if (widest := max(width, target[1])) > (most := MAX_ROW_VALUES // self._classes):
            raise ParameterError(
                "resolution",
                f"a row of the label map would have {widest} pixels, and {most} are allowed: crop the image",
            )
        rows, columns = resized_size(height, width, self._pixels.short_edge, self._pixels.long_edge)
        extent = max(rows, 1), max(columns, 1)
        total = self._total(total_points, extent, target, options.points)
        if total > max_points:
            raise ParameterError(
                "points",
                f"a label map of {target[1]}×{target[0]} may take {total} points, and {max_points} are allowed: "
                "lower points or resolution",
            )

    def expected_work(self, options: LabelMapOptions, max_side: int | None) -> float:
        """Return the work that a label map is expected to take, in points, if its image has the usual shape."""
        work = self._native.value
        if options.resolution != "native" or options.points is not None:
            height = self._pixels.short_edge if options.resolution == "native" else options.resolution
            work = self._total(total_work, self._largest, self._usual_size(height), options.points)
        if max_side is not None:
            limited = self._total(total_work, self._largest, self._usual_size(max_side), options.points)
            work = min(work, limited)
        return work

    def learn(self, request: Request) -> None:
        """Take into account the work of a label map in its image's own size."""
        if request.options.resolution == "native" and request.options.points is None:
            render = cast("LabelMapPrediction", request.prediction).render
            self._native.add(self._total(total_work, render.extent, render.target_size, None))

    def maps_bytes(self, padded: tuple[int, int], *, keep: bool = False) -> int:
        """Return the bytes of the coarse logits and of the fine map."""
        head, pixels = self._model.point_head, math.prod(padded)
        fine = 0 if head is None else head.point_dim * pixels // self._fine_stride**2
        return 4 * (fine + self._classes * pixels // self._model.stride**2)

    def encode_seconds(self, options: LabelMapOptions, format: str, width: int, height: int) -> float:
        """Return the usual seconds of encoding the label map of an image of this size."""
        shape = LabelMapShape(target_size(height, width, options.resolution), self._classes)
        return label_map_forecast(format, shape, width, height).seconds

    def windows(self) -> LabelMapWindows | None:
        """Return how windows are rendered, if there is a point head."""
        return None if self._model.point_head is None else LabelMapWindows(self._classes)

    def card(self) -> TaskCard:
        """Return the colours of the classes."""
        return TaskCard(palette=list(self._model.palette))

    @property
    def _largest(self) -> Size:
        """Height and width of the network's largest input."""
        return self._pixels.short_edge, self._pixels.long_edge

    def _usual_size(self, height: int) -> Size:
        """Return the size of a label map of this height, of an image of the shape of the largest input."""
        return height, round(height * self._pixels.long_edge / self._pixels.short_edge)

    def _total(self, of: _Total, extent: tuple[float, float], target: Size, points: int | None) -> int:
        """Return the points or the work of a whole render; none without a point head."""
        if self._model.point_head is None:
            return 0
        stride = self._model.stride
        start = math.ceil(extent[0] / stride), math.ceil(extent[1] / stride)
        return of(start, target, extent, points)
