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

from PIL import Image

from export import golden
from export.bundle import Bundle
from model.predict.headers import read_header
from model.predict.headers.georeference import georeference
from service.decoding.job import Job
from service.engine.device.inference import Inference
from service.engine.encoding import Encoding
from service.engine.errors import DeadlinePassed, ParameterError
from service.engine.levels import FinishedLevel
from service.engine.observer import Observer, Observers
from service.engine.queue.admission import Admission
from service.engine.queue.cost import CostModel, RequestWork
from service.engine.queue.gate import Need
from service.engine.queue.intake import EngineConfig, Intake
from service.engine.request import Request, Stage
from service.engine.resources import Resources
from service.engine.tasks.card import TaskCard
from service.engine.tasks.table import TASKS
from service.output.encode import Answer
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
        self.execution = bundle.execution
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
        self._windows = self._task.windows()
        self._boxes = None if self._windows is None else self._windows.boxes
        self._inference = Inference(bundle, self._boxes)
        self._encoding = Encoding(
            self.manifest, self._inference, self._intake, self._windows, self._resources
        )
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
    def keeps(self) -> bool:
        """Whether pictures can be kept, so that windows of their masks can be rendered."""
        return self._windows is not None and self._resources.kept.limit > 0

    @property
    def segments_kept(self) -> bool:
        """Whether boxes of kept pictures can be segmented."""
        return self.keeps and self._boxes is not None

    @property
    def depth(self) -> dict[Stage, int]:
        """The number of requests in each stage of the scheduler."""
        return self._scheduler.depth(self.manifest.name)

    def card(self) -> TaskCard:
        """Return what /models says about the model that models of other tasks do not have."""
        return self._task.card()

    def check_keep(self, seconds: float) -> None:
        """Raise ParameterError if a picture cannot be kept for so long."""
        if not self._resources.kept.limit:
            raise ParameterError("keep", "this service keeps no pictures")
        if self._windows is None:
            raise ParameterError("keep", "is for models with a point head, see `keeps` in /models")
        if seconds > self._config.keep_seconds:
            raise ParameterError(
                "keep", f"at most {self._config.keep_seconds} s are allowed, got {seconds:g}"
            )

    def check_kept_boxes(self) -> None:
        """Raise ParameterError if boxes of kept pictures cannot be segmented."""
        if self._boxes is None:
            raise ParameterError(
                "kept",
                "needs a model with `segments_kept` in /models, which is an instance model exported with a box pass; "
                "an older bundle must be exported again",
            )

    def check_room(self) -> None:
        """Raise QueueFull if there is no room even for a request without any mask.

        The size of a request's image is not known before its body is received, so the largest input is assumed.
        """
        self.admission.check(self._costs.coarse(self._intake.largest_input))

    async def answer(self, request: Request) -> Answer:
        """Return the encoded answer of a request, about an image or a kept picture.

        Raises ImageError, ParameterError, NotKept, TooCostly, AnswerTooLarge, QueueFull, NoDecoder, OutOfMemory,
        DeadlinePassed, Stopped, or what the model raises.
        """
        request.arrived = asyncio.get_running_loop().time()
        if not request.window:
            self._task.check(request.options, self._config.max_points)
        degrade_at = self._config.degrade_at
        if degrade_at is not None and self.admission.pressure >= degrade_at:
            request.max_side = self._task.degraded_side
        with self._resources.quiet.request():
            job = None
            if request.picture is None:
                job = await self._plan(request)
            elif request.window:
                self._plan_window(request)
            else:
                assert self._boxes is not None
                self._intake.plan_boxes(request, request.picture, self._boxes)
            self._intake.check_cost(request)
            with self.admission.place(request.cost, large=self._intake.is_large(request)):
                answer = await self._process(request, job)
        self._observer.answered(request)
        return answer

    async def encode_level(self, request: Request, level: FinishedLevel) -> bytes:
        """Return a line with a level of a request that is being answered. Raises TooCostly, AnswerTooLarge."""
        return await self._encoding.level(request, level)

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
        for asked, known in self.manifest.goldens.items():
            request = Request("golden", file.getvalue(), golden.GOLDENS[asked].OPTIONS)
            request.arrived = asyncio.get_running_loop().time()
            # Limits on the images of clients are not for this one.
            await self._process(request, self._intake.plan(request, read_header(request.image)))
            golden.check(self.manifest.name, asked, known, request.result, self.execution.precision)

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
        if FORMATS[request.format].placed or request.keep is not None:
            request.georeference = georeference(request.image)
        return self._intake.plan(request, header)

    def _plan_window(self, request: Request) -> None:
        """Set what a window of a kept picture will take, and its render, which is yet to run. Raise ParameterError."""
        picture, options = request.picture, request.options
        assert picture is not None and self._windows is not None
        self._windows.check(picture, options, self._config.max_points)
        request.width, request.height = options.width, options.height
        seconds = self._windows.encode_seconds(options, request.format)
        work = RequestWork(0, points=self._windows.work(picture, options), encoding=seconds)
        self._intake.set_cost(request, work)
        request.prediction = picture.window(options)

    async def _process(self, request: Request, job: Job | None) -> Answer:
        request.model = self.manifest.name
        request.due = request.arrived + self._resources.stretch * request.cost
        try:
            if job is not None:
                await self._decode(request, job)
            await self._scheduler.submit(request)
            request.stage = "encode"
            return await self._encoding.answer(request)
        except asyncio.CancelledError:
            self._observer.left(request.stage)
            raise
        finally:
            if request.levels is not None:
                request.levels.close()  # what is not a line yet would only delay the answer
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
                    pixels = await self._resources.decoded(job)
        except TimeoutError as error:
            raise DeadlinePassed from error
        self._costs.decoded(job.seconds, loop.time() - begun)
        size = request.width, request.height
        request.prepared = self._predictor.prepare_resized(pixels, size, request.options)


@asynccontextmanager
async def serving(resources: Resources) -> AsyncIterator[None]:
    """Let all engines that share these resources work while the context is open. What they share ends with it."""
    await resources.decoder.start()
    work = (resources.scheduler.serve(), resources.quiet.watch(), resources.kept.watch())
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await resources.decoder.close()
        await resources.workers.close()
