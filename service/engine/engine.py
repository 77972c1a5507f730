"""One loaded model, from an image's bytes to the encoded answer. HTTP and the command line use the same engine.

Images are decoded and resized in the pool, and results encoded there. Coarse passes and steps of the renderer run on
the device's thread, in the order that the scheduler chooses.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event

from PIL import Image

from export import golden
from export.bundle import Bundle
from model.predict.image_errors import SlowImage
from model.predict.image_size import header_size
from model.predict.images import decode
from model.predict.resize import padded_size
from service.engine.admission import Admission
from service.engine.batching import BatchLimits
from service.engine.cost import CostModel
from service.engine.errors import DeadlinePassed
from service.engine.inference import Inference
from service.engine.observer import Observer, Observers
from service.engine.request import Request, Stage
from service.engine.scheduler import Scheduler
from service.engine.tasks.card import TaskCard
from service.engine.tasks.table import TASKS
from service.engine.workers import Workers
from service.output.encode import Answer, encode
from service.output.format import Found
from service.output.formats import FORMATS


@dataclass(frozen=True)
class EngineConfig:
    """What an engine allows. The defaults are for one request at a time, as on the command line."""

    max_pixels: int  # of an image
    max_points: int  # work that the masks of one request may need
    batching: BatchLimits = field(default_factory=lambda: BatchLimits(max_wait=0, pixels=1, points=8 * 784))
    queue_seconds: float = math.inf  # predicted work of all requests inside
    queue_length: int = 1
    degrade_at: float | None = None  # share of the queue from which on masks are coarser; None: never
    decode_seconds: float = math.inf  # that decoding an image may take


class Engine:
    """A model that answers requests while `serve` runs."""

    def __init__(self, bundle: Bundle, workers: Workers, config: EngineConfig, observer: Observer) -> None:
        self.manifest = bundle.manifest
        self.providers = bundle.providers
        self.ready = False
        self.failure: str | None = None  # why it will never be ready
        self.admission = Admission(
            seconds=config.queue_seconds, length=config.queue_length, stretch=config.batching.stretch
        )
        self._config = config
        self._workers = workers
        self._predictor = bundle.predictor
        self._task = TASKS[bundle.manifest.task](bundle)
        self._costs = CostModel(self._task)
        self._inference = Inference(bundle)
        self._observer = Observers(self._costs, observer)
        self._scheduler = Scheduler(workers.device, config.batching, self._inference, self._observer)

    @property
    def alive(self) -> bool:
        """Whether the scheduler runs, and the device is neither stuck nor lost."""
        return self._scheduler.alive and self._workers.device.alive

    @property
    def depth(self) -> dict[Stage, int]:
        """The number of requests in each stage of the scheduler."""
        return self._scheduler.depth

    def card(self) -> TaskCard:
        """Return what /models says about the model that models of other tasks do not have."""
        return self._task.card()

    async def serve(self) -> None:
        """Work until cancelled."""
        await self._scheduler.serve()

    def check_room(self) -> None:
        """Raise QueueFull if there is no room even for a request without any mask.

        The size of a request's image is not known before its body is received, so the largest input is assumed.
        """
        self.admission.check(self._costs.coarse(self._max_input_pixels()))

    async def answer(self, request: Request) -> Answer:
        """Return the encoded answer of a request.

        Raises ImageError, ParameterError, QueueFull, NoDecoder, DeadlinePassed, Stopped, or what the model raises.
        """
        request.arrived = asyncio.get_running_loop().time()
        self._task.check(request.options, self._config.max_points)
        self._predict_cost(request)
        with self.admission.place(request.cost):
            answer = await self._process(request)
        self._observer.answered(request)
        return answer

    async def warm_up(self) -> None:
        """Become ready: take the golden picture through every stage.

        Raises RuntimeError unless the model sees in it what its export saw, and whatever else fails.
        """
        images = max(1, self._config.batching.pixels // self._max_input_pixels())
        await self._workers.device.run(lambda: self._inference.warm_up(images))
        file = io.BytesIO()
        Image.fromarray(golden.picture()).save(file, "PNG")
        name, task = self.manifest.name, self.manifest.task
        request = Request("warm-up", file.getvalue(), golden.GOLDENS[task].OPTIONS)
        request.arrived = asyncio.get_running_loop().time()
        await self._process(request)
        golden.check(name, task, self.manifest.model.golden, request.result)
        self.ready = True

    def _predict_cost(self, request: Request) -> None:
        degrade_at = self._config.degrade_at
        if degrade_at is not None and self.admission.pressure >= degrade_at:
            request.max_side = self._task.degraded_side
        request.cost = self._costs.total(self._max_input_pixels(), request.options, request.max_side)

    async def _process(self, request: Request) -> Answer:
        try:
            with self._scheduler.expected():
                await self._decode(request)
            await self._scheduler.submit(request)
            request.stage = "encode"
            return await self._workers.in_pool(lambda abandoned: self._encode(request, abandoned))
        except asyncio.CancelledError:
            self._observer.left(request.stage)
            raise

    async def _decode(self, request: Request) -> None:
        seconds = self._config.decode_seconds
        try:
            async with asyncio.timeout(request.deadline_seconds) as limit:
                await self._workers.decode(lambda: self._read(request), seconds)
        except TimeoutError as error:
            if limit.expired():
                raise DeadlinePassed from error
            raise SlowImage(f"the image takes more than {seconds:g} s to decode; save it again") from error
        _, height, width = request.prepared.pixels.shape
        request.padded = padded_size(height, width, self.manifest.preprocessing.stride)
        request.coarse_cost = self._costs.coarse(math.prod(request.padded))

    def _read(self, request: Request) -> None:
        """Decode and resize the image, in the pool.

        The size in its header is checked first, so that nothing is computed for a request that asks for too much. If
        only decoding gives the size, it is checked before the network runs.
        """
        config, options = self._config, request.options
        expected = header_size(request.image)
        if expected is not None and math.prod(expected) <= config.max_pixels:  # else `decode` refuses it
            self._task.check_size(options, *expected, config.max_points)
        image = decode(request.image, max_pixels=config.max_pixels)
        if (image.width, image.height) != expected:
            self._task.check_size(options, image.width, image.height, config.max_points)
        request.width, request.height = image.width, image.height
        request.prepared = self._predictor.prepare(image.pixels, options)

    def _encode(self, request: Request, abandoned: Event) -> Answer:
        """Finish the result and encode it, in the pool."""
        request.finish()
        found = Found(
            request_id=request.id,
            model=self.manifest.name,
            task=self.manifest.task,
            categories=self.manifest.categories,
            palette=self.manifest.palette,
            width=request.width,
            height=request.height,
            result=request.result,
            degraded=request.degraded,
            image_id=request.image_id,
        )
        request.answer = encode(found, FORMATS[request.format], request.stages, request.arrived, abandoned)
        return request.answer

    def _max_input_pixels(self) -> int:
        """Return the padded pixels of the largest input that the network gets."""
        pixels = self.manifest.preprocessing
        return math.prod(padded_size(pixels.short_edge, pixels.long_edge, pixels.stride))


@asynccontextmanager
async def serving(engines: Iterable[Engine], workers: Workers) -> AsyncIterator[None]:
    """Let the engines serve while the context is open. Their threads end with it."""
    tasks = [asyncio.create_task(engine.serve()) for engine in engines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await workers.close()
