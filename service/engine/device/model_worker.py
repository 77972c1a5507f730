"""One model's work on the device. It may fail at any time; a failure harms as few requests as possible."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from model.pointrend.render import Render
from model.predict.predictor import Prediction
from service.engine.device.batching import BatchLimits, Reason, choose_step
from service.engine.device.device import Device
from service.engine.observer import Observer
from service.engine.queue.cost import Mean
from service.engine.request import Request


class DeviceModel(Protocol):
    """What a model computes on the device's thread."""

    def detect(self, requests: Sequence[Request]) -> bool:
        """Find boxes with the model's own detector, which the coarse pass is given. Return whether it has one."""
        ...

    def begin(self, requests: Sequence[Request]) -> Sequence[Prediction]:
        """Run a coarse pass over requests of equal padded size. Return the prediction of each."""
        ...

    def advance(self, renders: Sequence[Render]) -> None:
        """Take each of these unfinished renders a step further."""
        ...

    def release(self) -> None:
        """Give back memory that is kept for speed alone, after the device had too little."""
        ...


def fail(request: Request, error: Exception) -> None:
    """End a request with an error, unless it has ended already."""
    if not request.future.done():
        request.future.set_exception(error)


def unfinished(request: Request) -> list[Render]:
    """Return the renders of a request that are not done, after its coarse pass."""
    return [render for render in request.prediction.renders if not render.done]


def limit_sides(request: Request) -> None:
    """Limit the renders of a request, before they run, to the side that masks may have while the service is busy."""
    if request.max_side is not None:
        for render in request.prediction.renders:
            render.limit(request.max_side)


@dataclass(eq=False)
class ModelWorker:
    """Runs coarse passes and steps of the renderer on the device, and tries again what failed."""

    device: Device
    model: DeviceModel
    observer: Observer
    step_seconds: Mean = field(default_factory=lambda: Mean(0.0))  # of a step of the renderer

    async def coarse_pass(
        self, requests: Sequence[Request], reason: Reason, *, last_try: bool = False
    ) -> None:
        """Run a coarse pass. Each request has its prediction and the stage "refine" afterwards, or has failed.

        If the pass fails, each half has a pass of its own, so that a request that is the cause fails alone, and a
        device with little memory can cope. A request that is alone has a second, last try if the device was the cause.
        """
        requests = [request for request in requests if not request.future.done()]
        if not requests:
            return
        loop = asyncio.get_running_loop()
        start = loop.time()
        for request in requests:
            request.stage, request.begun = "coarse", start
        found = await self.device.attempt(lambda: self._begin(requests))
        if isinstance(found, Exception):
            recovered = await self.device.recovered(found, self.model.release)
            if len(requests) > 1:
                middle = len(requests) // 2
                await self.coarse_pass(requests[:middle], reason)
                await self.coarse_pass(requests[middle:], reason)
            elif recovered and not last_try:
                await self.coarse_pass(requests, reason, last_try=True)
            else:
                fail(requests[0], found)
            return
        end = loop.time()
        predictions, detected = found
        for request, prediction in zip(requests, predictions, strict=True):
            request.prediction, request.detected, request.passed = prediction, detected, end
        self.observer.passed(requests, reason, end - start)
        for request in requests:
            if not request.future.done():  # its client may have left meanwhile
                request.stage = "refine"
                limit_sides(request)

    async def refine(self, requests: Sequence[Request], limits: BatchLimits) -> None:
        """Run one step of the renderer for the first of these requests, as many as a step may hold.

        If it fails, each render has a step of its own; a request whose render fails again fails.
        """
        renders = choose_step(_coarsest_first(requests), limits)
        failure = await self._advance(renders)
        if failure is None:
            return
        await self.device.recovered(failure, self.model.release)
        chosen = set(map(id, renders))
        for request in requests:
            own = [render for render in unfinished(request) if id(render) in chosen]
            for render in own:  # the failed step may have taken some of them further
                failure = await self._advance([render])
                if failure is not None:
                    fail(request, failure)
                    break

    def _begin(self, requests: Sequence[Request]) -> tuple[Sequence[Prediction], float | None]:
        """Return the prediction of each request, and when the detector was done, if the model has one."""
        detected = time.monotonic() if self.model.detect(requests) else None
        found = self.model.begin(requests)
        if len(found) != len(requests):
            raise RuntimeError(f"a batch of {len(requests)} has {len(found)} results")
        return found, detected

    async def _advance(self, renders: Sequence[Render]) -> Exception | None:
        loop = asyncio.get_running_loop()
        points: Counter[int] = Counter()
        for side, work in (render.next_level() for render in renders):
            points[side] += work
        start = loop.time()
        failure = await self.device.attempt(lambda: self.model.advance(renders))
        if failure is None:
            seconds = loop.time() - start
            self.step_seconds.add(seconds)
            self.observer.advanced(points, seconds)
        return failure


def _coarsest_first(requests: Sequence[Request]) -> Iterator[Render]:
    """Yield unfinished renders, request by request, and of each request the coarsest first.

    So the renders of a request keep abreast, and a deadline finds none of them without a mask. It is a generator
    because a step needs only the first few requests of a long queue.
    """
    for request in requests:
        yield from sorted(unfinished(request), key=lambda render: render.next_level()[0])
