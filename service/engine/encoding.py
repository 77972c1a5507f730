"""The last stage of a request: its result is finished, kept if it shall be, and encoded in the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import Event
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from export.manifest import Manifest
from model.predict.headers.georeference import Georeference
from model.predict.predictor import Result
from service.decoding.job import Job
from service.engine.device.inference import Inference
from service.engine.kept import Kept
from service.engine.levels import FinishedLevel
from service.engine.queue.gate import Need
from service.engine.queue.intake import Intake
from service.engine.request import Request
from service.engine.resources import Resources
from service.engine.tasks.table import Windows
from service.output.cost import encode_forecast
from service.output.encode import Answer, encode, encode_level
from service.output.format import Format, Found
from service.output.formats import FORMATS, WINDOW_FORMATS

T = TypeVar("T")


@dataclass(frozen=True)
class Encoding:
    """Finishes and encodes the results of one model."""

    manifest: Manifest
    inference: Inference
    intake: Intake
    windows: Windows | None
    resources: Resources

    async def answer(self, request: Request) -> Answer:
        """Return the encoded answer. Raises TooCostly, AnswerTooLarge, ParameterError.

        A cut-out has its image decoded again, which may raise ImageError, NoDecoder or OutOfMemory. If the picture is
        to be kept, it is kept once the answer is encoded. If encoding fails, it is not kept.
        """
        with self._keeping(request) as entry:
            need = await self._finished(request, entry)
            found = replace(self._found(request, request.result), degraded=request.degraded)
            async with self.resources.encoding.place(request.due, need):
                if request.whole is not None and request.result.parts:
                    found = replace(found, pixels=await self._own_pixels(request, request.whole))
                return await self.resources.workers.in_pool(
                    lambda abandoned: self._encoded(request, found, abandoned)
                )

    async def level(self, request: Request, level: FinishedLevel) -> bytes:
        """Return a line with a level of a request that is being answered. Raises TooCostly, AnswerTooLarge."""
        result = await self._where_finished(level.prediction.finish)
        in_pool = self.resources.workers.in_pool
        need = await in_pool(lambda _: self._needed(request, result))
        # The memory of its masks is in no other budget.
        need = replace(need, bytes=need.bytes + sum(part.nbytes for part in result.parts))
        found, format = self._found(request, result), self._formats(request)[request.format]
        async with self.resources.encoding.place(request.due, need):
            return await in_pool(lambda abandoned: encode_level(found, format, level.side, abandoned))

    async def _own_pixels(self, request: Request, job: Job) -> NDArray[np.uint8]:
        """Return the image in its own size. Their memory is in the budget of answers, that of decoding in its own."""
        async with self.resources.decoding.place(request.due, Need(job.bytes, job.seconds)):
            return await self.resources.decoded(job)

    def _keeping(self, request: Request) -> AbstractContextManager[Kept | None]:
        if request.keep is None or self.windows is None:
            return nullcontext()
        count = self.windows.kept_bytes(request.prediction, boxes=self._keeps_boxes(request))
        return self.resources.kept.making(request.keep, self.manifest.name, count)

    def _keeps_boxes(self, request: Request) -> bool:
        """Return whether a picture that is kept can be kept for boxes, too. Otherwise, it is kept for windows alone."""
        if self.windows is None or self.windows.boxes is None:
            return False
        return self.resources.kept.may_hold(self.windows.kept_bytes(request.prediction, boxes=True))

    async def _finished(self, request: Request, entry: Kept | None) -> Need:
        """Finish the result, and keep what it was rendered from. Return what encoding takes."""

        def finish() -> None:
            if entry is not None and self.windows is not None:
                entry.picture = self.windows.keep(request.prediction, boxes=self._keeps_boxes(request))
                entry.georeference = request.georeference
                request.kept = entry.id
            request.finish()

        await self._where_finished(finish)
        return await self.resources.workers.in_pool(lambda _: self._needed(request, request.result))

    async def _where_finished(self, call: Callable[[], T]) -> T:
        """Run a call where results are finished: on the device's thread if masks are on an accelerator."""
        if self.inference.accelerated:
            return await self.resources.workers.device.run(call)
        return await self.resources.workers.in_pool(lambda _: call())

    def _needed(self, request: Request, result: Result) -> Need:
        """Return what encoding a finished result takes."""
        size, placed = (request.width, request.height), self._place(request) is not None
        cost = encode_forecast(request.format, self._kind(request), result, *size, placed=placed)
        self.intake.check_answer(cost)
        return Need(cost.bytes, cost.seconds)

    def _encoded(self, request: Request, found: Found, abandoned: Event) -> Answer:
        format, line = self._formats(request)[request.format], request.levels is not None
        request.answer = encode(found, format, request.stages, request.arrived, abandoned, line=line)
        return request.answer

    def _formats(self, request: Request) -> Mapping[str, Format]:
        return WINDOW_FORMATS if request.window else FORMATS

    def _place(self, request: Request) -> Georeference | None:
        """Return where the picture lies on a map, if the format says so."""
        return request.georeference if self._formats(request)[request.format].placed else None

    def _kind(self, request: Request) -> str:
        """Return the name of what is encoded: the model's task, or a window of a kept picture."""
        return self.windows.kind if request.window and self.windows is not None else self.manifest.task

    def _found(self, request: Request, result: Result) -> Found:
        return Found(
            request_id=request.id,
            model=self.manifest.name,
            task=self._kind(request),
            categories=self.manifest.categories,
            palette=self.manifest.palette,
            width=request.width,
            height=request.height,
            result=result,
            image_id=request.image_id,
            crop=request.crop,
            tags=request.tags,
            georeference=self._place(request),
            more={} if request.keep is None else {"kept": request.kept},
        )
