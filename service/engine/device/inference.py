"""What a model computes on the device's thread. It is the same for all tasks: their predictors know the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from export.bundle import Bundle
from model.pointrend.render import GROUP_POINTS, Render, advance, points_that_fit
from model.predict.predictor import Prediction, Predictor, Prepared
from model.predict.resize import resized_size
from service.engine.request import Request
from service.engine.tasks.table import KeptBoxes

# Height and width of pictures of cameras and screens. OpenVINO takes a fraction of a second to plan for a new shape.
USUAL_SHAPES = ((3000, 4000), (2000, 3000), (900, 1600), (1000, 1000))


class Inference:
    """Coarse passes and steps of the renderer of one model (see `DeviceModel`)."""

    def __init__(self, bundle: Bundle, boxes: KeptBoxes | None = None) -> None:
        """`boxes` segments those of kept pictures, if the model can."""
        self._boxes = boxes
        self._predictor: Predictor = bundle.predictor
        self._release = bundle.release
        self._plans_shapes = bundle.execution.precision == "bf16"
        head = self._predictor.head
        self._group = GROUP_POINTS if head is None else points_that_fit(self._predictor.device, head.dim)

    def detect(self, requests: Sequence[Request]) -> bool:
        """Find boxes with the model's own detector. Return whether it has one."""
        if self._predictor.detects:
            found = self._predictor.detect([request.prepared for request in requests])
            for request, prepared in zip(requests, found, strict=True):
                request.prepared = prepared
        return self._predictor.detects

    def begin(self, requests: Sequence[Request]) -> list[Prediction]:
        """Run a coarse pass over requests of equal padded size, or over the boxes of one kept picture.

        Return the prediction of each request.
        """
        if (picture := requests[0].picture) is not None:
            (request,) = requests
            assert self._boxes is not None
            return [self._boxes.segmented(picture, request.prepared, request.options)]
        coarse = self._predictor.coarse([request.prepared for request in requests])
        return [
            self._predictor.begin(coarse, index, request.prepared, request.options)
            for index, request in enumerate(requests)
        ]

    def advance(self, renders: Sequence[Render]) -> None:
        """Take each of these unfinished renders a step further."""
        assert self._predictor.head is not None  # without one every render is done from the start
        advance(renders, self._predictor.head, self._group)

    @property
    def accelerated(self) -> bool:
        """Whether masks are on an accelerator, so that only its thread may finish results."""
        return self._predictor.device.type != "cpu"

    def release(self) -> None:
        """Give back memory that is kept for speed alone."""
        self._release()
        if self.accelerated:
            torch.cuda.empty_cache()

    def warm_up(self, images: int) -> None:
        """Run the largest pass that can occur, and those of usual images if each new shape has to be planned for.

        What keeps memory for speed then takes the most that it needs at once, and not in ever larger pieces.
        """
        shape = self._predictor.preprocessing
        self._pass(shape.short_edge, shape.long_edge, images)
        if self._plans_shapes:
            for one, other in USUAL_SHAPES:
                for height, width in {(one, other), (other, one)}:
                    self._pass(*resized_size(height, width, shape.short_edge, shape.long_edge), 1)

    def _pass(self, height: int, width: int, images: int) -> None:
        blank = torch.zeros(3, height, width, dtype=torch.uint8)
        self._predictor.coarse(self._predictor.detect([Prepared(blank, width, height)] * images))
