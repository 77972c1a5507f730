"""What a request will cost the device, in seconds, learned from what earlier requests did cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.engine.batching import Reason
from service.engine.request import Request, Stage


@dataclass
class Mean:
    """A moving average. The first observation replaces the initial guess."""

    value: float
    known: bool = False

    def add(self, seen: float) -> None:
        """Take an observation into account."""
        self.value += (seen - self.value) * (0.1 if self.known else 1.0)
        self.known = True


@dataclass
class Rate:
    """Seconds per unit of work, averaged over recent work, so that large portions count for more."""

    guess: float
    seconds: float = 0.0
    units: float = 0.0

    @property
    def value(self) -> float:
        return self.seconds / self.units if self.units else self.guess

    def add(self, units: float, seconds: float) -> None:
        """Take some work and its time into account."""
        self.seconds = 0.95 * self.seconds + seconds
        self.units = 0.95 * self.units + units


class WorkEstimate(Protocol):
    """What a task expects its requests to ask of the renderer."""

    def expected_work(self, options: Any, max_side: int | None) -> float:
        """Return the work of a request's renders in points, if their side is limited to `max_side`."""
        ...

    def learn(self, request: Request) -> None:
        """Take into account what the coarse pass found in a request's image."""
        ...


@dataclass(eq=False)
class CostModel:
    """Predicts the costs of one model on one device. It is an observer of the engine, and so learns from all work.

    The initial guesses matter only until the warm-up has run.
    """

    work: WorkEstimate
    pixel: Rate = field(default_factory=lambda: Rate(5e-7))  # of a padded pixel in a coarse pass
    point: Rate = field(default_factory=lambda: Rate(4e-6))  # of a point of the renderer's work

    def coarse(self, pixels: int) -> float:
        """Return the predicted seconds of a coarse pass over so many padded pixels."""
        return pixels * self.pixel.value

    def total(self, pixels: int, options: Any, max_side: int | None) -> float:
        """Return the predicted seconds of a request whose image has so many padded pixels."""
        return self.coarse(pixels) + self.work.expected_work(options, max_side) * self.point.value

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        """Learn the seconds of a padded pixel, and what each request asks of the renderer."""
        self.pixel.add(sum(math.prod(request.padded) for request in requests), seconds)
        for request in requests:
            self.work.learn(request)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        """Learn the seconds of a point."""
        self.point.add(sum(points.values()), seconds)

    def left(self, stage: Stage) -> None:
        """Do nothing: a request that was cancelled says nothing about costs."""

    def answered(self, request: Request) -> None:
        """Do nothing: the request's passes and steps were reported already."""
