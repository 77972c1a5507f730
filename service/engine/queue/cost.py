"""What a request will cost, in seconds, learned from what earlier requests did cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.engine.device.batching import Reason
from service.engine.request import Request, Stage

PASS_BOXES = 1  # the fixed time of a box pass, as a number of boxes
MOST_FACTOR = (
    4  # a measured decoding time is learned as at most this multiple, or fraction, of the usual time
)


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
    lowest: float = math.inf  # average so far

    @property
    def value(self) -> float:
        return self.seconds / self.units if self.units else self.guess

    @property
    def least(self) -> float:
        """Return the rate on a machine that has nothing else to do: the lowest average so far.

        It is never more than the initial guess. After a start on a busy machine it would otherwise be so high that all
        requests are refused, and nothing more is learned.
        """
        return min(self.guess, self.lowest)

    def add(self, units: float, seconds: float) -> None:
        """Take some work and its time into account."""
        self.seconds = 0.95 * self.seconds + seconds
        self.units = 0.95 * self.units + units
        if self.units:
            self.lowest = min(self.lowest, self.value)


@dataclass(frozen=True)
class RequestWork:
    """What a request asks for, in units whose seconds are learned."""

    pixels: int  # padded pixels of its coarse pass
    points: float = 0.0  # of the renderer's work
    # Usual seconds of one core, on the machine where they were measured.
    decoding: float = 0.0
    encoding: float = 0.0
    boxes: int = 0  # of a box pass


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

    task: WorkEstimate
    threads: int = 1  # images that are decoded, and answers that are encoded, at the same time
    pixel: Rate = field(default_factory=lambda: Rate(5e-7))  # of a padded pixel in a coarse pass
    box: Rate = field(default_factory=lambda: Rate(2e-3))  # of a box in a box pass
    point: Rate = field(default_factory=lambda: Rate(4e-6))  # of a point of the renderer's work
    decode: Rate = field(default_factory=lambda: Rate(1.0))  # of a usual second of decoding

    def coarse(self, pixels: int) -> float:
        """Return the predicted seconds of a coarse pass over so many padded pixels."""
        return pixels * self.pixel.value

    def boxes(self, count: int) -> float:
        """Return the predicted seconds of a box pass over so many boxes."""
        return (count + PASS_BOXES) * self.box.value if count else 0.0

    def total(self, work: RequestWork) -> float:
        """Return the predicted seconds of a request, at the present rates."""
        around = work.decoding * self.decode.value + work.encoding
        passes = self.coarse(work.pixels) + self.boxes(work.boxes)
        return around / self.threads + passes + work.points * self.point.value

    def least(self, work: RequestWork) -> float:
        """Return the predicted seconds of a request on a machine that has nothing else to do."""
        around = work.decoding * self.decode.least + work.encoding
        boxes = work.boxes + PASS_BOXES if work.boxes else 0
        passes = work.pixels * self.pixel.least + boxes * self.box.least
        return around / self.threads + passes + work.points * self.point.least

    def decoded(self, usual: float, seconds: float) -> None:
        """Learn how long decoding takes that usually takes `usual` seconds.

        One image says little: large ones wait for others, and some are made to take longer than they should.
        """
        self.decode.add(usual, min(max(seconds, usual / MOST_FACTOR), usual * MOST_FACTOR))

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        """Learn the seconds of a padded pixel, and what each request asks of the renderer; or the seconds of a box."""
        if requests[0].picture is not None:
            self.box.add(PASS_BOXES + sum(len(each.options.prompts) for each in requests), seconds)
            return
        self.pixel.add(sum(math.prod(request.padded) for request in requests), seconds)
        for request in requests:
            self.task.learn(request)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        """Learn the seconds of a point."""
        self.point.add(sum(points.values()), seconds)

    def left(self, stage: Stage) -> None:
        """Do nothing: a request that was cancelled says nothing about costs."""

    def answered(self, request: Request) -> None:
        """Do nothing: the request's passes and steps were reported already."""
