"""What differs between the tasks while a request is served, and the one table of them.

A further task is a module beside `instance.py` and `semantic.py`, and a line in TASKS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from export.bundle import Bundle
from model.predict.kept.picture import KeptPicture
from model.predict.predictor import Prediction, Prepared
from service.engine.queue.cost import WorkEstimate
from service.engine.tasks.card import TaskCard
from service.engine.tasks.instance import InstanceTask
from service.engine.tasks.semantic import SemanticTask


class Task(WorkEstimate, Protocol):
    """What is special about serving one model. `options` are those of its task."""

    @property
    def degraded_side(self) -> int:
        """The side that renders are limited to while the service is busy."""
        ...

    def check(self, options: Any, max_points: int) -> None:
        """Raise ParameterError if a request may need more work than `max_points`, as far as that is known already."""
        ...

    def check_size(self, options: Any, width: int, height: int, max_points: int) -> None:
        """Raise ParameterError if the options do not fit an image of this size, or need more work than `max_points`."""
        ...

    def maps_bytes(self, padded: tuple[int, int], *, keep: bool = False) -> int:
        """Return the bytes of the maps that a coarse pass gives for one image of this padded (height, width).

        With `keep` these are all that is kept of the image.
        """
        ...

    def encode_seconds(self, options: Any, format: str, width: int, height: int) -> float:
        """Return the usual seconds of encoding what is found in an image of this size."""
        ...

    def windows(self) -> Windows | None:
        """Return how windows of kept pictures are rendered. None: the model renders nothing at points of choice."""
        ...

    def card(self) -> TaskCard:
        """Return what /models says about the model that other tasks do not have."""
        ...


class Windows(Protocol):
    """What is special about keeping the pictures of one model, and about windows of them."""

    @property
    def kind(self) -> str:
        """What formats call a window."""
        ...

    @property
    def boxes(self) -> KeptBoxes | None:
        """How boxes of kept pictures are segmented. None: they cannot be."""
        ...

    def kept_bytes(self, prediction: Prediction, *, boxes: bool) -> int:
        """Return the bytes that `keep` takes."""
        ...

    def keep(self, prediction: Prediction, *, boxes: bool) -> KeptPicture:
        """Return copies of what a prediction is rendered from, and of what boxes are segmented from, if they shall be.

        Runs where results are finished.
        """
        ...

    def check(self, picture: KeptPicture, options: Any, max_points: int) -> None:
        """Raise ParameterError if there is no such window, or it needs more work than `max_points`."""
        ...

    def work(self, picture: KeptPicture, options: Any) -> int:
        """Return the most work of a window in points."""
        ...

    def encode_seconds(self, options: Any, format: str) -> float:
        """Return the usual seconds of encoding a window."""
        ...


class KeptBoxes(Protocol):
    """Segments boxes of the kept pictures of one model."""

    def prepared(self, picture: KeptPicture, options: Any) -> Prepared:
        """Return a kept picture with the boxes that are to be segmented. Raise NotKept if too little is kept of it."""
        ...

    def maps_bytes(self, options: Any) -> int:
        """Return the bytes of the maps that a box pass gives."""
        ...

    def segmented(self, picture: KeptPicture, prepared: Prepared, options: Any) -> Prediction:
        """Run a box pass over a kept picture. Return its prediction, yet to be rendered."""
        ...


TASKS: Mapping[str, Callable[[Bundle], Task]] = {"instance": InstanceTask, "semantic": SemanticTask}
