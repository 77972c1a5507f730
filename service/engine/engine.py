"""One loaded model, from an image's bytes to the encoded answer. HTTP and the command line use the same engine.

What a request will take is predicted from its image's header (intake.py), and it gets its place (admission.py). Its
image is decoded shortly before its turn, by a process that can be killed. Coarse passes and steps of the renderer run
on the device's thread, and results are encoded in the pool. All of it happens in the order in which requests are due.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export import golden
from export.bundle import Bundle
from model.predict.headers import read_header
from service.decoding.errors import NoMemory, NoWorker
from service.decoding.job import Job
from service.engine.device.inference import Inference
from service.engine.errors import DeadlinePassed, NoDecoder, OutOfMemory
from service.engine.observer import Observer, Observers
from service.engine.queue.admission import Admission
from service.engine.queue.cost import CostModel
from service.engine.queue.gate import Need
from service.engine.queue.intake import EngineConfig, Intake
from service.engine.request import Request, Stage
from service.engine.resources import Resources
from service.engine.tasks.card import TaskCard
from service.engine.tasks.table import TASKS
from service.output.cost import encode_forecast
from service.output.encode import Answer, encode
from service.output.format import Found
from service.output.formats import FORMATS

_log = logging.getLogger(__name__)
LARGE_BODY = 1_000_000  # bytes; searching the header of a larger one would hold up the event loop


class Engine:
    """A model that answers requests while the service runs (see `serving`)."""

    def __init__(
        self, bundle: Bundle, resources: Resources, config: EngineConfig, observer: Observer
    ) -> None:
        self.manifest = bundle.manifest
        self.providers = bundle.providers
        self.ready = False
        self.failure: str | None = None  # why it will never be ready
        self._config = config
        self._resources = resources
        self._scheduler = resources.scheduler
        self._workers = resources.workers
        self._predictor = bundle.predictor
        self._task = TASKS[bundle.manifest.task](bundle)
        self._costs = CostModel(self._task, resources.workers.pool_size)
        self._intake = Intake(config, self._task, self._costs, bundle.manifest.preprocessing)
        self._inference = Inference(bundle)
        self._observer = Observers(self._costs, observer)
        self._scheduler.add(self.manifest.name, self._inference, self._observer)

    @property
    def admission(self) -> Admission:
        """The room for requests, which all models share."""
        return self._resources.admission

    @property
    def alive(self) -> bool:
        """Whether the scheduler runs, and the device is neither stuck nor lost."""
        return self._scheduler.alive and self._workers.device.alive

    @property
    def depth(self) -> dict[Stage, int]:
        """The number of requests in each stage of the scheduler."""
        return self._scheduler.depth(self.manifest.name)

    def card(self) -> TaskCard:
        """Return what /models says about the model that models of other tasks do not have."""
        return self._task.card()

    def check_room(self) -> None:
        """Raise QueueFull if there is no room even for a request without any mask.

        The size of a request's image is not known before its body is received, so the largest input is assumed.
        """
        self.admission.check(self._costs.coarse(self._intake.largest_input))

    async def answer(self, request: Request) -> Answer:
        """Return the encoded answer of a request.

        Raises ImageError, ParameterError, TooCostly, QueueFull, NoDecoder, OutOfMemory, DeadlinePassed, Stopped, or
        what the model raises.
        """
        request.arrived = asyncio.get_running_loop().time()
        self._task.check(request.options, self._config.max_points)
        degrade_at = self._config.degrade_at
        if degrade_at is not None and self.admission.pressure >= degrade_at:
            request.max_side = self._task.degraded_side
        with self._resources.quiet.request():
            job = await self._plan(request)
            self._intake.check_cost(request)
            with self.admission.place(request.cost, large=self._intake.is_large(request)):
                answer = await self._process(request, job)
        self._observer.answered(request)
        return answer

    async def warm_up(self) -> None:
        """Become ready: run the largest pass that can occur, and try the golden picture.

        Raises RuntimeError unless the model sees in it what its export saw, and whatever else fails.
        """
        images = max(1, self._resources.batch_pixels // self._intake.largest_input)
        await self._workers.device.run(lambda: self._inference.warm_up(images))
        await self.try_golden()
        self._warn_of_short_queue()
        self.ready = True

    async def try_golden(self) -> None:
        """Take the golden picture through every stage. Raise as `warm_up` does if that fails."""
        file = io.BytesIO()
        Image.fromarray(golden.picture()).save(file, "PNG")
        name, task = self.manifest.name, self.manifest.task
        request = Request("golden", file.getvalue(), golden.GOLDENS[task].OPTIONS)
        request.arrived = asyncio.get_running_loop().time()
        # Limits on the images of clients are not for this one.
        await self._process(request, self._intake.plan(request, read_header(request.image)))
        golden.check(name, task, self.manifest.model.golden, request.result)

    def _warn_of_short_queue(self) -> None:
        least, most = self._costs.coarse(self._intake.largest_input), self._config.most_seconds
        if least > most:
            _log.warning(
                "queue_seconds: a request to %s may take %.2f s, but a coarse pass takes about %.2f s, so that large "
                "images will be refused: allow more",
                self.manifest.name,
                most,
                least,
            )

    async def _plan(self, request: Request) -> Job:
        if len(request.image) > LARGE_BODY:
            header = await self._workers.in_pool(lambda _: self._intake.read(request.image))
        else:
            header = self._intake.read(request.image)
        return self._intake.plan(request, header)

    async def _process(self, request: Request, job: Job) -> Answer:
        request.model = self.manifest.name
        request.due = request.arrived + self._resources.stretch * request.cost
        try:
            await self._decode(request, job)
            await self._scheduler.submit(request)
            request.stage = "encode"
            return await self._encode(request)
        except asyncio.CancelledError:
            self._observer.left(request.stage)
            raise
        finally:
            self._scheduler.release(request)

    async def _decode(self, request: Request, job: Job) -> None:
        """Set what the network gets, once a process has decoded the image; before that, wait until the turn is near."""
        gate, scheduler = self._resources.decoding, self._scheduler
        need = Need(job.bytes, job.seconds)
        loop = asyncio.get_running_loop()
        try:
            async with (
                asyncio.timeout_at(request.deadline),
                gate.place(request.due, need, lambda: scheduler.may_decode(request.due, job.seconds)),
            ):
                begun = loop.time()
                with scheduler.expected():
                    pixels = await self._decoded(job)
        except TimeoutError as error:
            raise DeadlinePassed from error
        self._costs.decoded(job.seconds, loop.time() - begun)
        size = request.width, request.height
        request.prepared = self._predictor.prepare_resized(pixels, size, request.options)

    async def _decoded(self, job: Job) -> NDArray[np.uint8]:
        try:
            return await self._resources.decoder.decode(job)
        except NoWorker as error:
            raise NoDecoder("no process could be started to decode the image") from error
        except NoMemory as error:
            raise OutOfMemory("there was too little memory to decode the image") from error

    async def _encode(self, request: Request) -> Answer:
        """Finish the result and encode it, in the pool."""
        need = await self._workers.in_pool(lambda _: self._finished(request))
        found = self._found(request)
        async with self._resources.encoding.place(request.due, need):
            return await self._workers.in_pool(lambda abandoned: self._encoded(request, found, abandoned))

    def _finished(self, request: Request) -> Need:
        """Finish the result. Return what encoding it takes."""
        request.finish()
        cost = encode_forecast(
            request.format, self.manifest.task, request.result, request.width, request.height
        )
        self._intake.check_answer(cost)
        return Need(cost.bytes, cost.seconds)

    def _encoded(self, request: Request, found: Found, abandoned: Event) -> Answer:
        stages = request.stages
        request.answer = encode(found, FORMATS[request.format], stages, request.arrived, abandoned)
        return request.answer

    def _found(self, request: Request) -> Found:
        return Found(
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


@asynccontextmanager
async def serving(resources: Resources) -> AsyncIterator[None]:
    """Let all engines that share these resources work while the context is open. What they share ends with it."""
    await resources.decoder.start()
    work = (resources.scheduler.serve(), resources.quiet.watch())
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await resources.decoder.close()
        await resources.workers.close()
