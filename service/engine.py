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
from dataclasses import dataclass, field

import torch
from PIL import Image

from export import golden
from export.bundle import Bundle, Manifest
from model.predict import Options, Prepared, Region
from model.preprocess import padded_size
from model.render import Render, advance, total_points
from service.admission import Admission
from service.batching import Limits, Reason
from service.cost import CostModel
from service.images import SlowImage, decode
from service.masks import Mask, finished
from service.metrics import ModelMetrics
from service.options import check_boxes, check_cost
from service.scheduler import Scheduler
from service.work import Stage, Wish
from service.workers import Workers

DEGRADED_SIDE = 112  # under pressure; the paper's AP is the same there as at 224 (Table 3)
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
    masks: tuple[Mask, ...]
    stages: Stages
    started: float  # s, the event loop's
    degraded: bool = False  # masks are coarser than asked for because the service is busy


@dataclass(frozen=True)
class Place:
    """A request's place inside."""

    cost: float = 0.0  # predicted, s
    at_most: int | None = None  # the side that masks may have while the service is busy


@dataclass(eq=False)
class _Job:
    prepared: Prepared
    options: Options
    regions: Sequence[Region] = ()  # after the coarse pass


class Engine:
    """A bundle that serves requests while `serve` runs."""

    def __init__(self, bundle: Bundle, workers: Workers, rules: Rules, metrics: ModelMetrics) -> None:
        self.providers = bundle.providers
        self.manifest: Manifest = bundle.manifest
        self.ready = False
        self.failure: str | None = None  # why it will never be ready
        self.admission = Admission(seconds=rules.queue_seconds, length=rules.queue_length)
        self.costs = CostModel()
        self._predictor = bundle.predictor
        self._workers = workers
        self._rules = rules
        self.metrics = metrics
        self._scheduler = Scheduler[_Job, Render](workers, rules.batching, self, self)

    @property
    def alive(self) -> bool:
        return self._scheduler.alive and self._workers.alive

    @property
    def depth(self) -> dict[Stage, int]:
        """Requests by stage."""
        return self._scheduler.depth

    async def serve(self) -> None:
        await self._scheduler.serve()

    @contextmanager
    def place(self, options: Options) -> Iterator[Place]:
        """A place among the requests inside, from decoding to the encoded answer. Raises QueueFull, ParameterError."""
        rules, pressure = self._rules, self.admission.pressure
        check_cost(options, self.manifest.max_detections, rules.max_points)
        busy = rules.degrade_at is not None and pressure >= rules.degrade_at
        at_most = DEGRADED_SIDE if busy else None
        cost = self.costs.predict(self._most_pixels(), options, at_most)
        with self.admission.place(cost):
            yield Place(cost, at_most)

    async def segment(
        self, data: bytes, options: Options, place: Place | None = None, deadline: float | None = None
    ) -> Segmented:
        """`deadline`: seconds from now. Raises ImageError, ParameterError (a box outside the image),
        DeadlinePassed, or what the model raises."""
        place, loop = place or Place(), asyncio.get_running_loop()
        started = loop.time()
        try:
            with self._scheduler.expected():
                job = await self._decoded(data, options)
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
            masks = await self._workers.in_pool(lambda: tuple(map(finished, job.regions)))
        except asyncio.CancelledError:
            self.metrics.left("encode")
            raise
        stages = Stages(decoded - started, done.queue, done.coarse, done.refine)
        degraded = place.at_most is not None and any(mask.truncated for mask in masks)
        return Segmented(job.prepared.width, job.prepared.height, masks, stages, started, degraded)

    async def warm_up(self) -> None:
        """Ready once the golden picture went through every stage and its mask is the bundle's. Raises what fails."""
        await self._workers.on_device(self._largest_pass)
        file = io.BytesIO()
        Image.fromarray(golden.picture()).save(file, "PNG")
        masks = (await self.segment(file.getvalue(), golden.OPTIONS)).masks
        if len(masks) != 1 or not masks[0].logits.isfinite().all():
            raise RuntimeError(f"model {self.manifest.name!r} gives no usable mask for a box")
        seen = golden.seen(masks[0].score, masks[0].crop(golden.WIDTH, golden.HEIGHT))
        if self.manifest.golden is not None and not golden.agree(seen, self.manifest.golden):
            raise RuntimeError(
                f"model {self.manifest.name!r} does not see what its export saw in the golden picture: "
                f"score {seen.score:.4f} instead of {self.manifest.golden.score:.4f}, or another mask"
            )
        self.ready = True

    # What the scheduler does on the device's thread.

    def begin(self, items: Sequence[_Job]) -> list[list[Render]]:
        coarse = self._predictor.coarse([job.prepared for job in items])
        for i, job in enumerate(items):
            job.regions = self._predictor.regions(coarse, i, job.prepared, job.options)
        return [[region.render for region in job.regions] for job in items]

    def advance(self, pieces: Sequence[Render]) -> None:
        assert self._predictor.head is not None  # without one every render is done from the start
        advance(pieces, self._predictor.head)

    def release(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # What it tells, on the event loop.

    def passed(self, items: Sequence[_Job], padded: tuple[int, int], reason: Reason, seconds: float) -> None:
        pixels = len(items) * math.prod(padded)
        self.costs.saw_pass(pixels, seconds)
        self.metrics.passed(
            len(items), reason, pixels, sum(math.prod(job.prepared.pixels.shape[1:]) for job in items)
        )
        for job in items:
            options = job.options
            needed = [total_points(region.render.side, options.points) for region in job.regions]
            self.costs.saw_instances(options, needed)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        self.costs.saw_points(sum(points.values()), seconds)
        self.metrics.advanced(points, seconds)

    def left(self, stage: Stage) -> None:
        self.metrics.left(stage)

    async def _decoded(self, data: bytes, options: Options) -> _Job:
        seconds = self._rules.decode_seconds
        try:
            return await self._workers.decode(lambda: self._read(data, options), seconds)
        except TimeoutError as error:
            raise SlowImage(f"the image takes more than {seconds:g} s to decode; save it again") from error

    def _read(self, data: bytes, options: Options) -> _Job:
        image = decode(data, max_pixels=self._rules.max_pixels)
        check_boxes(options.prompts or (), image.width, image.height)
        return _Job(self._predictor.prepare(image.pixels, options.prompts), options)

    def _padded(self, job: _Job) -> tuple[int, int]:
        _, height, width = job.prepared.pixels.shape
        return padded_size(height, width, self.manifest.preprocessing.stride)

    def _most_pixels(self) -> int:
        """Padded, of the largest input that this model gets."""
        pixels = self.manifest.preprocessing
        return math.prod(padded_size(pixels.short_edge, pixels.long_edge, pixels.stride))

    def _largest_pass(self) -> None:
        """What keeps memory for speed takes the most that it will need at once, not in ever larger pieces."""
        pixels = self.manifest.preprocessing
        blank = torch.zeros(3, pixels.short_edge, pixels.long_edge, dtype=torch.uint8)
        batch = max(1, self._rules.batching.pixels // self._most_pixels())
        self._predictor.coarse([Prepared(blank, pixels.long_edge, pixels.short_edge)] * batch)


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
