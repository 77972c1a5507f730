"""All models' requests on the device: coarse passes in batches, then renders level by level, interleaved.

The loop does one short piece of work at a time, a coarse pass or a step of the renderer, for the request that is due
first, whatever its model (see batching.py). In between, requests arrive, leave, or reach their deadline. Each is done
when its own last render is, not when its batch is. Everything but the work on the device happens on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from model.pointrend.levels import COARSEST
from service.decoding.job import LARGE_SECONDS
from service.engine.device.batching import Batch, BatchLimits, batch_deadline, form_batch
from service.engine.device.device import Device
from service.engine.device.model_worker import DeviceModel, ModelWorker, fail, limit_sides, unfinished
from service.engine.device.render_memory import RenderMemory
from service.engine.errors import DeadlinePassed, Stopped, TooCostly
from service.engine.observer import Observer
from service.engine.queue.budget import Budget
from service.engine.request import Request, Stage

RESTARTS = 1
# An image that takes long to decode begins this many times its predicted seconds before its turn, at a low priority.
EARLY = 4.0
URGENT = -math.inf  # due before all other requests
_log = logging.getLogger(__name__)


class Scheduler:
    """Brings requests through their coarse pass and all levels of their renders, in the order in which they are due."""

    def __init__(
        self, device: Device, limits: BatchLimits, memory: Budget, taken: Callable[[], None] = lambda: None
    ) -> None:
        """`memory` is for maps and masks; `taken` is called when fewer decoded images wait (see `may_decode`)."""
        self.alive = False
        self._device = device
        self._limits = limits
        self._memory = RenderMemory(memory)
        self._taken = taken
        self._workers: dict[str, ModelWorker] = {}
        self._expected = 0  # requests that will be submitted soon
        self._waiting: list[Request] = []  # for their coarse pass
        self._passing: list[Request] = []  # in it
        self._refining: list[Request] = []  # after it
        self._changed = asyncio.Event()
        self._at_work: list[Request] = []  # those that the device works on now
        self._stopped = False

    def add(self, name: str, model: DeviceModel, observer: Observer) -> None:
        """Let requests name this model."""
        self._workers[name] = ModelWorker(self._device, model, observer)

    def depth(self, model: str) -> dict[Stage, int]:
        """Return the number of a model's requests in each stage."""
        stages: dict[Stage, list[Request]] = {
            "queue": self._waiting,
            "coarse": self._passing,
            "refine": self._refining,
        }
        return {
            stage: sum(request.model == model for request in requests) for stage, requests in stages.items()
        }

    def may_decode(self, due: float, seconds: float) -> bool:
        """Return whether it is time to decode an image that takes so many seconds, of a request that is due then.

        Few images are decoded before their turn, because clients may leave. One that takes long is not decoded while
        the device works for requests that are due earlier, until it is itself due soon.
        """
        now = asyncio.get_running_loop().time()
        if seconds > LARGE_SECONDS and due - now > EARLY * seconds:
            inside = (*self._waiting, *self._passing, *self._refining)
            if any(request.due <= due for request in inside):
                return False
        return sum(request.due <= due for request in self._waiting) < self._limits.ahead

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Announce a request: a batch may wait for it while the context is open."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._changed.set()

    async def submit(self, request: Request) -> None:
        """Return when the request's renders are finished, or as far as its deadline allows.

        Raises DeadlinePassed, Stopped, or what the model raises for this request alone. If it is cancelled, the request
        leaves. The caller calls `release` once it needs the renders no longer.
        """
        if self._stopped:
            raise Stopped("the scheduler has stopped")
        loop = asyncio.get_running_loop()
        request.stage, request.since, request.future = "queue", loop.time(), loop.create_future()
        if request.deadline is not None and request.deadline <= request.since:
            raise DeadlinePassed
        if request.window:
            self._begin_window(request)
        else:
            self._waiting.append(request)
        self._changed.set()
        timer = (
            None
            if request.deadline is None
            else loop.call_at(request.deadline, self._deadline_reached, request, request.deadline)
        )
        try:
            await request.future
        finally:
            if timer is not None:
                timer.cancel()
            for stage in (self._waiting, self._refining):
                if request in stage:
                    stage.remove(request)
            self._taken()

    def _begin_window(self, request: Request) -> None:
        """Let a window of a kept picture be rendered. It needs no coarse pass. Raise TooCostly."""
        self._memory.check(request)
        request.stage = "refine"
        request.begun = request.passed = request.since
        limit_sides(request)
        self._refining.append(request)
        self._finish_if_done(request, request.since)

    def release(self, request: Request) -> None:
        """Give back the memory of a request's maps and masks."""
        self._memory.release(request)
        self._changed.set()

    async def release_memory(self) -> None:
        """Let all models give back the memory that they keep for speed alone."""
        for worker in self._workers.values():
            await self._device.run(worker.model.release)

    async def serve(self) -> None:
        """Work until cancelled. If the loop itself fails, all requests inside fail, and it starts once more."""
        self.alive = True
        try:
            for _ in range(1 + RESTARTS):
                try:
                    await self._loop()
                except Exception:  # whatever it was, no request may wait for a loop that has ended
                    _log.exception("the scheduler failed")
                    self._fail_all()
        finally:
            self.alive, self._stopped = False, True
            self._fail_all()

    async def _loop(self) -> None:
        while True:
            await self._wait_for_work()
            await self._work_once()

    async def _wait_for_work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if self._refining:
                await asyncio.sleep(0)  # lets requests go that were cancelled in the meantime
                if self._order():
                    return
            now = loop.time()
            if self._next_batch(now):
                return
            self._taken()  # the device is free, so that images which take long may be decoded
            left = batch_deadline(self._waiting, self._limits) - now if self._waiting else math.inf
            try:  # beyond its deadline there is a batch, but no memory for it: until somebody gives some back
                await asyncio.wait_for(self._changed.wait(), left if 0 < left < math.inf else None)
            except TimeoutError:
                continue

    async def _work_once(self) -> None:
        """Run one coarse pass or one step of the renderer, for whichever request is due first."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._drop_hopeless(now)
        if self._refining:
            self._end_late(now + max(self._workers[r.model].step_seconds.value for r in self._refining))
        batch = self._next_batch(now)
        order = self._order()
        if order and (batch is None or order[0].due <= batch.requests[0].due):
            await self._refine(order)
        elif batch is not None:
            self._end_late(now + sum(request.coarse_cost for request in batch.requests))
            await self._refine_urgent()
            # Meanwhile requests of the batch may have left, and urgent ones may have taken memory: choose again.
            if (batch := self._next_batch(loop.time())) is not None:
                await self._pass(batch)
        self._end_late(loop.time())
        self._offer_levels()
        await self._refine_urgent()

    def _next_batch(self, now: float) -> Batch | None:
        batch = form_batch(self._waiting, self._limits, now, self._expected)
        return batch and self._memory.fitting(batch)

    async def _pass(self, batch: Batch) -> None:
        self._passing = list(batch.requests)
        self._waiting = [request for request in self._waiting if request not in self._passing]
        self._taken()
        self._memory.hold_maps(self._passing)
        with self._working_on(self._passing):
            await self._workers[self._passing[0].model].coarse_pass(self._passing, batch.reason)
        for request in self._passing:
            if not request.future.done():
                try:
                    self._memory.check(request)
                except TooCostly as error:
                    fail(request, error)
        self._refining += [request for request in self._passing if not request.future.done()]
        self._passing = []  # not in a `finally`: if the loop ends, `_fail_all` must find them

    def _order(self) -> list[Request]:
        """Return the requests to be refined that have memory for their masks, in the order in which they are due."""
        return self._memory.with_masks(sorted(self._refining, key=lambda request: request.due))

    async def _refine(self, order: Sequence[Request]) -> None:
        model = order[0].model
        alike = [request for request in order if request.model == model]
        with self._working_on(alike):
            await self._workers[model].refine(alike, self._limits)

    @contextmanager
    def _working_on(self, requests: list[Request]) -> Iterator[None]:
        self._at_work = requests
        try:
            yield
        finally:
            self._at_work = []

    async def _refine_urgent(self) -> None:
        while (order := self._order()) and order[0].due == URGENT:
            await self._refine(order)
            self._end_late(-math.inf)

    def _offer_levels(self) -> None:
        """Offer what is finished to those who are shown it. The device must be idle, because it writes to renders."""
        for request in self._refining:
            if request.levels is not None:
                request.levels.offer(request.prediction)

    def _end_late(self, until: float) -> None:
        """End the refinement of requests whose deadline comes before `until`, and finish those that are done."""
        for request in self._refining:
            if request.deadline is not None and until >= request.deadline:
                self._end(request)
        now = asyncio.get_running_loop().time()
        for request in self._refining:
            self._finish_if_done(request, now)
        self._refining = [request for request in self._refining if not request.future.done()]

    def _end(self, request: Request) -> None:
        """Let a request be done with the finest of its finished levels.

        One without a finished level becomes urgent, for the coarsest level.
        """
        request.due = URGENT
        for render in request.prediction.renders:
            render.limit(COARSEST)

    def _finish_if_done(self, request: Request, now: float) -> None:
        if not request.future.done() and not unfinished(request):
            request.rendered = now
            request.future.set_result(None)

    def _drop_hopeless(self, now: float) -> None:
        """Drop requests that cannot finish their coarse pass before their deadline, if it would delay others.

        A request that is alone is tried all the same: otherwise a prediction that was once too high would stay so.
        """
        for request in list(self._waiting):
            alone = not self._refining and len(self._waiting) == 1
            late = request.deadline is not None and now + request.coarse_cost > request.deadline
            if late and not alone:
                fail(request, DeadlinePassed())
                self._waiting.remove(request)

    def _deadline_reached(self, request: Request, deadline: float) -> None:
        """End a request at its deadline. If the device works on this request now, `_work_once` ends it after that."""
        if request.stage == "queue":
            fail(request, DeadlinePassed())
        elif request.stage == "refine" and request not in self._at_work:
            self._end(request)
            self._finish_if_done(request, deadline)

    def _fail_all(self) -> None:
        for request in (*self._passing, *self._refining, *self._waiting):
            fail(request, Stopped("the scheduler has stopped"))
        self._passing, self._refining, self._waiting = [], [], []
