"""One loaded model, from bytes to masks: decode → prepare → coarse → render, each where it belongs.

Decoding and resizing run in the pool; coarse passes and steps of the renderer run on the device's thread, in
the order that the scheduler chooses. HTTP and the command line use the same engine.
"""

from __future__ import annotations

import asyncio
import io
import logging
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import torch
from PIL import Image

from export import golden
from export.bundle import Bundle
from export.manifest import Manifest
from model.predict.images import SlowImage, decode
from model.predict.preprocess import padded_size
from service.engine.admission import Admission
from service.engine.batching import Limits, Reason
from service.engine.cost import CostModel
from service.engine.request import DeadlinePassed, Piece, Stage, Wish
from service.engine.results import Findings, LabelMap, Mask
from service.engine.scheduler import Scheduler
from service.engine.tasks import Job, task_of
from service.engine.workers import Workers
from service.http.parameters import AnyOptions
from service.observe.metrics import ModelMetrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What an engine allows; the defaults are for one request at a time, as on the command line."""

    max_pixels: int
    max_points: int  # that the masks of one request may need
    batching: Limits = field(default_factory=lambda: Limits(max_wait=0, pixels=1, points=8 * 784))
    queue_seconds: float = math.inf  # of predicted work inside
    queue_length: int = 1
    degrade_at: float | None = None  # share of the queue from which on masks are coarser; None: never
    decode_seconds: float = math.inf


@dataclass(frozen=True)
class Stages:
    """Seconds. Of a batch, coarse is the whole batch's: that is how long each request took.

    Refine is from there to the request's last level, other requests' steps in between included.
    """

    decode: float
    queue: float
    coarse: float
    refine: float


@dataclass(frozen=True, eq=False)
class Segmented:
    """What the model found in a width×height image, best first or in the order of the given boxes."""

    width: int
    height: int
    found: Findings
    stages: Stages
    started: float  # s, the event loop's
    degraded: bool = False  # it is coarser than asked for because the service is busy

    @property
    def masks(self) -> tuple[Mask, ...]:
        """Of an instance model; none of a semantic one."""
        return () if isinstance(self.found, LabelMap) else self.found

    @property
    def parts(self) -> tuple[Mask, ...] | tuple[LabelMap]:
        """What was rendered."""
        return (self.found,) if isinstance(self.found, LabelMap) else self.found


@dataclass(frozen=True)
class Place:
    """A request's place inside."""

    cost: float = 0.0  # predicted, s
    at_most: int | None = None  # the side that masks may have while the service is busy


class Engine:
    """A bundle that serves requests while `serve` runs."""

    def __init__(
        self, bundle: Bundle, workers: Workers, rules: Rules, metrics: ModelMetrics
    ) -> None:
        self.providers = bundle.providers
        self.manifest: Manifest = bundle.manifest
        self.ready = False
        self.failure: str | None = None  # why it will never be ready
        self.admission = Admission(
            seconds=rules.queue_seconds, length=rules.queue_length, stretch=rules.batching.stretch
        )
        self.costs = CostModel()
        self._task = task_of(bundle)
        self._release = bundle.release
        self._workers = workers
        self._rules = rules
        self.metrics = metrics
        self._scheduler = Scheduler[Job, Piece](workers, rules.batching, self, self)

    @property
    def alive(self) -> bool:
        return self._scheduler.alive and self._workers.alive

    @property
    def depth(self) -> dict[Stage, int]:
        """Requests by stage."""
        return self._scheduler.depth

    async def serve(self) -> None:
        await self._scheduler.serve()

    def check_room(self) -> None:
        """Before the body is received. Raises QueueFull if even a pass without any mask would find no place."""
        self.admission.check(self._most_pixels() * self.costs.pixel.value)

    @contextmanager
    def place(self, options: AnyOptions) -> Iterator[Place]:
        """A place among the requests inside, from decoding to the encoded answer. Raises QueueFull, ParameterError."""
        rules, pressure = self._rules, self.admission.pressure
        self._task.check(options, rules.max_points)
        busy = rules.degrade_at is not None and pressure >= rules.degrade_at
        at_most = self._task.degraded_side if busy else None
        cost = self._task.cost(self.costs, self._most_pixels(), options, at_most)
        with self.admission.place(cost):
            yield Place(cost, at_most)

    async def segment(
        self, data: bytes, options: AnyOptions, place: Place | None = None, deadline: float | None = None
    ) -> Segmented:
        """`deadline`: seconds from now. Raises ImageError, ParameterError (a box outside the image),
        DeadlinePassed, NoDecoder, or what the model raises."""
        place, loop = place or Place(), asyncio.get_running_loop()
        started = loop.time()
        try:
            with self._scheduler.expected():
                job = await self._decoded(data, options, deadline)
        except asyncio.CancelledError:
            self.metrics.left("decode")
            raise
        decoded = loop.time()
        done = await self._scheduler.submit(
            job,
            Wish(
                padded := self._padded(job),
                place.cost,
                None if deadline is None else started + deadline,
                place.at_most,
                math.prod(padded) * self.costs.pixel.value,
            ),
        )
        try:
            found = await self._workers.in_pool(lambda _: self._task.finish(job))
        except asyncio.CancelledError:
            self.metrics.left("encode")
            raise
        stages = Stages(decoded - started, done.queue, done.coarse, done.refine)
        segmented = Segmented(job.prepared.width, job.prepared.height, found, stages, started)
        # Below that, it was the deadline.
        most = place.at_most
        degraded = most is not None and any(p.truncated and p.side >= most for p in segmented.parts)
        return replace(segmented, degraded=degraded)

    async def warm_up(self) -> None:
        """Ready once the golden picture went through every stage and is seen as by the export. Raises what fails."""
        batch = max(1, self._rules.batching.pixels // self._most_pixels())
        await self._workers.on_device(lambda: self._task.warm(batch))
        file = io.BytesIO()
        Image.fromarray(golden.picture()).save(file, "PNG")
        self._task.check_golden((await self.segment(file.getvalue(), self._task.golden)).found)
        self.ready = True

    # What the scheduler does on the device's thread.

    def begin(self, items: Sequence[Job]) -> Sequence[Sequence[Piece]]:
        return self._task.begin(items)

    def advance(self, pieces: Sequence[Piece]) -> None:
        self._task.advance(pieces)

    def release(self) -> None:
        self._release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # What it tells, on the event loop.

    def passed(self, items: Sequence[Job], padded: tuple[int, int], reason: Reason, seconds: float) -> None:
        pixels = len(items) * math.prod(padded)
        self.costs.saw_pass(pixels, seconds)
        self.metrics.passed(
            len(items), reason, pixels, sum(math.prod(job.prepared.pixels.shape[1:]) for job in items)
        )
        for job in items:
            self._task.learn(self.costs, job)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        self.costs.saw_points(sum(points.values()), seconds)
        self.metrics.advanced(points, seconds)

    def left(self, stage: Stage) -> None:
        self.metrics.left(stage)

    async def _decoded(self, data: bytes, options: AnyOptions, deadline: float | None) -> Job:
        seconds = self._rules.decode_seconds
        try:
            async with asyncio.timeout(deadline) as limit:
                return await self._workers.decode(lambda: self._read(data, options), seconds)
        except TimeoutError as error:
            if limit.expired():
                raise DeadlinePassed from error
            raise SlowImage(f"the image takes more than {seconds:g} s to decode; save it again") from error

    def _read(self, data: bytes, options: AnyOptions) -> Job:
        image = decode(data, max_pixels=self._rules.max_pixels)
        return self._task.read(image, options, self._rules.max_points)

    def _padded(self, job: Job) -> tuple[int, int]:
        _, height, width = job.prepared.pixels.shape
        return padded_size(height, width, self.manifest.preprocessing.stride)

    def _most_pixels(self) -> int:
        """Padded, of the largest input that this model gets."""
        pixels = self.manifest.preprocessing
        return math.prod(padded_size(pixels.short_edge, pixels.long_edge, pixels.stride))


@asynccontextmanager
async def serving(engines: Iterable[Engine], workers: Workers) -> AsyncIterator[None]:
    """The engines serve inside; their threads end with it."""
    tasks = [asyncio.create_task(engine.serve()) for engine in engines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await workers.close()
