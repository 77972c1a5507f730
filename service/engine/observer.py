"""What an engine reports while it works: metrics and the prediction of costs see it through this protocol alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from service.engine.device.batching import Reason
from service.engine.request import Request, Stage

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Gets the reports of an engine. All methods are called on the event loop."""

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        """A coarse pass over these requests took so long; `reason` is why there were not more."""
        ...

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        """A step of the renderer took so long; `points` is its work by the side of the level."""
        ...

    def left(self, stage: Stage) -> None:
        """A request was cancelled in this stage."""
        ...

    def answered(self, request: Request) -> None:
        """A request has its encoded answer."""
        ...


class Observers:
    """An observer that passes everything on to several. An error of one is logged and goes no further."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        self._notify(lambda observer: observer.passed(requests, reason, seconds))

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        self._notify(lambda observer: observer.advanced(points, seconds))

    def left(self, stage: Stage) -> None:
        self._notify(lambda observer: observer.left(stage))

    def answered(self, request: Request) -> None:
        self._notify(lambda observer: observer.answered(request))

    def _notify(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:  # counting must never fail the request that is counted
                _log.exception("an observer failed")
