"""One loaded model, from bytes to masks: decode → prepare → coarse → render, each where it belongs.

Decoding and resizing run in the pool; the coarse pass and the renderer run on the device's thread, for
a whole batch at once. HTTP and the command line use the same engine.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

from PIL import Image

from export import golden
from export.bundle import Bundle, Manifest
from model.predict import Options, Prepared
from model.preprocess import padded_size
from service.batching import Batcher, Limits
from service.images import decode
from service.masks import Mask, finished
from service.options import check_boxes, check_cost
from service.workers import Workers


@dataclass(frozen=True)
class Stages:
    """Seconds. Of a batch, coarse and refine are the whole batch's: that is how long each request took."""

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
    started: float  # time.perf_counter()


@dataclass(frozen=True, eq=False)
class _Job:
    prepared: Prepared
    options: Options


@dataclass(frozen=True, eq=False)
class _Rendered:
    masks: tuple[Mask, ...]
    coarse: float  # s
    refine: float  # s


class Engine:
    """A bundle that serves requests while `serve` runs."""

    def __init__(
        self,
        bundle: Bundle,
        workers: Workers,
        limits: Limits,
        *,
        max_pixels: int,
        max_points: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.providers = bundle.providers
        self.manifest: Manifest = bundle.manifest
        self.ready = False
        self._predictor = bundle.predictor
        self._workers = workers
        self._max_pixels = max_pixels
        self._max_points = max_points
        self._on_batch = on_batch  # told the size of every coarse batch, on the device's thread
        self._batcher = Batcher[_Job, _Rendered](workers, limits, padded=self._padded, run=self._compute)

    @property
    def alive(self) -> bool:
        return self._batcher.alive and self._workers.alive

    async def serve(self) -> None:
        await self._batcher.serve()

    def place(self) -> AbstractContextManager[None]:
        """A place among the requests inside, from decoding to the encoded answer. Raises QueueFull."""
        return self._batcher.place()

    async def segment(self, data: bytes, options: Options) -> Segmented:
        """Raises ImageError, ParameterError (too many points, a box outside the image), or what the model raises."""
        check_cost(options, self.manifest.max_detections, self._max_points)
        started = time.perf_counter()
        job = await self._workers.in_pool(lambda: self._read(data, options))
        decoded = time.perf_counter()
        done = await self._batcher.submit(job)
        rendered = done.result
        stages = Stages(decoded - started, done.waited, rendered.coarse, rendered.refine)
        return Segmented(job.prepared.width, job.prepared.height, rendered.masks, stages, started)

    async def warm_up(self) -> None:
        """Ready once the golden picture went through every stage and its mask is the bundle's. Raises what fails."""
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

    def _read(self, data: bytes, options: Options) -> _Job:
        image = decode(data, max_pixels=self._max_pixels)
        check_boxes(options.prompts or (), image.width, image.height)
        return _Job(self._predictor.prepare(image.pixels, options.prompts), options)

    def _padded(self, job: _Job) -> tuple[int, int]:
        _, height, width = job.prepared.pixels.shape
        return padded_size(height, width, self.manifest.preprocessing.stride)

    def _compute(self, batch: Sequence[_Job]) -> list[_Rendered]:
        self._on_batch(len(batch))
        start = time.perf_counter()
        coarse = self._predictor.coarse([job.prepared for job in batch])
        middle = time.perf_counter()
        regions = [
            self._predictor.regions(coarse, i, job.prepared, job.options) for i, job in enumerate(batch)
        ]
        self._predictor.render([region for own in regions for region in own])
        masks = [tuple(map(finished, own)) for own in regions]
        refine = time.perf_counter() - middle
        return [_Rendered(own, middle - start, refine) for own in masks]


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
        workers.close()
