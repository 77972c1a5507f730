"""The ways in which a request can end without an answer.

ParameterError       422  a parameter's value is not allowed
Refused                   not now, but perhaps later; the answer carries Retry-After, see `retry_after`
├── QueueFull        429  the model has as much work inside as it may have
├── BodiesFull       429  the bodies of all requests inside take as much memory as they may
├── NoDecoder        503  every thread that decodes images is busy
└── Starting         503  the model is warming up
DeadlinePassed       504  not even a coarse mask was ready in time
Stopped              503  the model's worker has ended
└── DeviceLost       503  the device's thread ended during this request's work

`kind` names the problem that HTTP answers (service/http/problems.py has its status and title). An image that cannot
be used is an `ImageError` (model/predict/images.py).
"""

from __future__ import annotations

import math
from typing import ClassVar

from model.errors import UserError

LONGEST_WAIT = 60  # s; a prediction beyond it says little


class ParameterError(UserError):
    """A parameter's value is not allowed; the message says what is."""

    kind: ClassVar[str] = "invalid-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter
        self.detail = detail


class Refused(Exception):
    """The service cannot take the request now, but may be able to later.

    `wait`: seconds after which it is predicted to be taken; None leaves it to what is usual for the kind.
    """

    kind: ClassVar[str]

    def __init__(self, detail: str, wait: float | None = None) -> None:
        super().__init__(detail)
        self.wait = wait


class QueueFull(Refused):
    """The model has as much work inside as it may have."""

    kind = "queue-full"

    def __init__(self, wait: float) -> None:
        super().__init__(f"the queue is full; try again in {seconds_to_wait(self.kind, wait)} s", wait)


class BodiesFull(Refused):
    """The bodies of all requests inside take as many bytes as they may."""

    kind = "bodies-full"


class NoDecoder(Refused):
    """No thread was free to decode the image."""

    kind = "no-decoder"


class Starting(Refused):
    """The model has not finished its warm-up."""

    kind = "starting"


class DeadlinePassed(Exception):
    """Not even a coarse mask was ready in time."""

    kind: ClassVar[str] = "deadline"


class Stopped(RuntimeError):
    """The scheduler or the device's thread has ended; the work that it had is lost."""

    kind: ClassVar[str] = "stopped"


class DeviceLost(Stopped):
    """The device's thread ended while this work ran on it, or this work ended it."""


# Seconds after which another try usually succeeds, where nothing is predicted.
_USUAL_WAIT = {"bodies-full": 1, "no-decoder": 5, "starting": 5}


def seconds_to_wait(kind: str, predicted: float | None = None) -> int:
    """Return the whole seconds that a client is told to wait after a refusal: at least 1, at most LONGEST_WAIT."""
    wait = _USUAL_WAIT[kind] if predicted is None else predicted
    return min(LONGEST_WAIT, max(1, math.ceil(wait)))


def retry_after(refused: Refused) -> int:
    """Return the value of the header Retry-After for any refusal."""
    return seconds_to_wait(refused.kind, refused.wait)
