"""The ways in which a request can end without an answer.

ParameterError       422  a parameter's value is not allowed
TryLater                  not now, but perhaps later; the answer carries Retry-After, see `retry_after`
├── QueueFull        429  the service has as much work inside as it may have
├── BodiesFull       429  the bodies of all requests inside take as much memory as they may
├── NoDecoder        503  no process could be started to decode the image
├── OutOfMemory      503  the machine has less memory than the service was promised
└── Starting         503  the model is warming up
NotKept              404  no picture is kept under this id for whoever asks
TooCostly            413  the request alone would take more time or memory than one request may
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

LONGEST_WAIT = 300  # s; a prediction beyond it says little


class ParameterError(UserError):
    """A parameter's value is not allowed; the message says what is."""

    kind: ClassVar[str] = "invalid-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter
        self.detail = detail


class TryLater(Exception):
    """The service cannot take the request now, but may be able to later.

    `wait`: seconds after which it is predicted to be taken; None leaves it to `usual_wait`.
    """

    kind: ClassVar[str]
    usual_wait: ClassVar[float] = 1  # seconds after which another try usually succeeds

    def __init__(self, detail: str, wait: float | None = None) -> None:
        super().__init__(detail)
        self.wait = wait


def retry_after(error: TryLater) -> int:
    """Return the header Retry-After of any answer that has one: whole seconds, at least 1 and at most LONGEST_WAIT."""
    wait = error.usual_wait if error.wait is None else error.wait
    return min(LONGEST_WAIT, max(1, math.ceil(wait)))


class QueueFull(TryLater):
    """The service has as much work inside as it may have. `wait` is predicted from that work."""

    kind = "queue-full"

    def __init__(self, wait: float) -> None:
        super().__init__("the queue is full", wait)

    def __str__(self) -> str:
        return f"the queue is full; try again in {retry_after(self)} s"


class BodiesFull(TryLater):
    """The bodies of all requests inside take as many bytes as they may."""

    kind = "bodies-full"


class NoDecoder(TryLater):
    """No process could be started to decode the image."""

    kind = "no-decoder"
    usual_wait = 5


class OutOfMemory(TryLater):
    """There was too little memory for a request that is within its budgets."""

    kind = "out-of-memory"
    usual_wait = 5


class Starting(TryLater):
    """The model has not finished its warm-up."""

    kind = "starting"
    usual_wait = 5


class TooCostly(UserError):
    """The request alone would take more time or memory than one request may. The message says what makes it cheaper."""

    kind: ClassVar[str] = "too-costly"


class NotKept(UserError):
    """No picture is kept under this id for whoever asks: its time is over, it made room, or it never was."""

    kind: ClassVar[str] = "not-kept"


class DeadlinePassed(Exception):
    """Not even a coarse mask was ready in time."""

    kind: ClassVar[str] = "deadline"


class Stopped(RuntimeError):
    """The scheduler or the device's thread has ended; the work that it had is lost."""

    kind: ClassVar[str] = "stopped"


class DeviceLost(Stopped):
    """The device's thread ended while this work ran on it, or this work ended it."""
