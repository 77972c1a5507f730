"""What kept pictures of all tasks have in common."""

from __future__ import annotations

from typing import Any, Protocol

from model.predict.kept.boxes import Features
from model.predict.predictor import Prediction


class KeptPicture(Protocol):
    """What is kept of one picture."""

    @property
    def width(self) -> int:
        """The width of the picture in pixels."""
        ...

    @property
    def height(self) -> int: ...
    @property
    def features(self) -> Features | None:
        """What boxes of it are segmented from. None: they cannot be."""
        ...

    def window(self, options: Any) -> Prediction:
        """Return a window of it, yet to be rendered."""
        ...
