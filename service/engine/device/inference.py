"""What a model computes on the device's thread. It is the same for all tasks: their predictors know the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from export.bundle import Bundle
from model.pointrend.render import Render, advance
from model.predict.predictor import Prediction, Predictor, Prepared
from service.engine.request import Request


class Inference:
    """Coarse passes and steps of the renderer of one model (see `DeviceModel`)."""

    def __init__(self, bundle: Bundle) -> None:
        self._predictor: Predictor = bundle.predictor
        self._release = bundle.release

    def begin(self, requests: Sequence[Request]) -> list[Prediction]:
        """Run a coarse pass over requests of equal padded size. Return the prediction of each."""
        coarse = self._predictor.coarse([request.prepared for request in requests])
        return [
            self._predictor.begin(coarse, index, request.prepared, request.options)
            for index, request in enumerate(requests)
        ]

    def advance(self, renders: Sequence[Render]) -> None:
        """Take each of these unfinished renders a step further."""
        assert self._predictor.head is not None  # without one every render is done from the start
        advance(renders, self._predictor.head)

    def release(self) -> None:
        """Give back memory that is kept for speed alone."""
        self._release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def warm_up(self, images: int) -> None:
        """Run the largest pass that can occur.

        What keeps memory for speed then takes the most that it needs at once, and not in ever larger pieces.
        """
        shape = self._predictor.preprocessing
        blank = torch.zeros(3, shape.short_edge, shape.long_edge, dtype=torch.uint8)
        self._predictor.coarse([Prepared(blank, shape.long_edge, shape.short_edge)] * images)
