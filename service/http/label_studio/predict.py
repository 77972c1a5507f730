"""Predictions for Label Studio's tasks, each of which is a request of its own to the engine."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request

from service.engine.engine import Engine
from service.engine.errors import ParameterError, TryLater, retry_after
from service.http.body.limits import Body
from service.http.error_handlers import problem_of
from service.http.health import OWN
from service.http.label_studio.config import LabelConfig
from service.http.label_studio.files import StudioFiles
from service.http.label_studio.tasks import DrawnRegion, StudioTask, boxes
from service.http.problems import Problem
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery
from service.http.routes.segment import engine_request, with_body
from service.http.service import Service
from service.output.format import TagNames

PARALLEL = 4  # tasks of one request that are worked on at a time
MAX_ANSWERS = 50_000_000  # bytes of the predictions of one request, less the last ones
_log = logging.getLogger(__name__)


@dataclass
class Predicting:
    """Works on the tasks of one request."""

    request: Request
    service: Service
    files: StudioFiles
    body: Body  # the request's share in the memory for bodies
    config: LabelConfig
    engine: Engine
    query: SegmentQuery
    options: Any  # of the task of the engine's model
    tags: TagNames
    held: int = field(default=0, init=False)  # bytes of predictions
    instances: int = field(default=0, init=False)

    @staticmethod
    def of(
        request: Request,
        service: Service,
        files: StudioFiles,
        body: Body,
        config: LabelConfig,
        drawn: Sequence[DrawnRegion],
    ) -> Predicting:
        """Return what works on tasks: on the whole pictures, or on what was drawn in them.

        Raises Problem, ParameterError, Starting.
        """
        engine = chosen_engine(request, service, config)
        categories = engine.manifest.categories
        known = config.known(categories)
        labels: tuple[str | None, ...] = ()
        asked = {**config.parameters, "format": config.format}
        if drawn:
            asked["boxes"], labels = boxes(drawn, config, categories)
        elif not known:
            raise ParameterError(
                "label_config", "none of its labels is a category of the model: draw a rectangle instead"
            )
        query = with_body(request, asked)
        options = parse_options(query, engine.manifest.task, categories)
        if not drawn:  # by indices, because a name may have a comma
            classes = frozenset(index for index, each in enumerate(categories) if each.name in known)
            options = replace(options, classes=classes)
        # What a rectangle without a label shows may be of a category for which there is none.
        usual = next(iter(config.labels.values()))
        names = {category.name: known.get(category.name, usual) for category in categories}
        tags = TagNames(config.control, config.image, names, labels)
        return Predicting(request, service, files, body, config, engine, query, options, tags)

    async def results(self, tasks: Sequence[StudioTask]) -> list[bytes]:
        """Return the prediction of each task as JSON.

        Of several, one that fails has its problem in place of a prediction, so that the others are not lost. Raise what
        happens if there is only one.
        """
        end = asyncio.get_running_loop().time() + self.service.settings.label_studio_seconds
        if len(tasks) == 1:
            return [await self._in_time(tasks[0], end)]
        places = asyncio.Semaphore(PARALLEL)

        async def result(task: StudioTask) -> bytes:
            try:
                async with places:
                    return await self._in_time(task, end)
            except Exception as error:  # whatever it is, it is told
                return self._failed(task, error)

        async with asyncio.TaskGroup() as group:
            working = [group.create_task(result(task)) for task in tasks]
        return [each.result() for each in working]

    async def _in_time(self, task: StudioTask, end: float) -> bytes:
        if self.held > MAX_ANSWERS:
            raise Problem(
                "too-costly",
                "the predictions of earlier tasks already fill the answer: ask for the other ones in another request",
            )
        try:
            async with asyncio.timeout_at(end):
                answer = await self._patient(lambda: self._predicted(task, end), end)
        except TimeoutError as error:
            seconds = self.service.settings.label_studio_seconds
            raise Problem("deadline", f"it was not done after {seconds:g} s: ask again") from error
        self.body.take(len(answer))
        self.held += len(answer)
        return answer

    async def _patient(self, work: Callable[[], Awaitable[bytes]], end: float) -> bytes:
        """Do some work. While the service is full, wait for room, because Label Studio would not ask again."""
        while True:
            try:
                return await work()
            except TryLater as error:
                wait = retry_after(error)
                if asyncio.get_running_loop().time() + wait >= end:
                    raise
                await asyncio.sleep(wait)

    async def _predicted(self, task: StudioTask, end: float) -> bytes:
        self.engine.check_room()
        address = task.data.get(self.config.key)
        if not isinstance(address, str):
            raise ParameterError("tasks", f"have no address of a picture in data.{self.config.key[:80]}")
        with self.service.bodies.reserve() as body:
            image = await self.files.fetch(address, body)
            # Tried again with the same picture, not fetched again.
            return await self._patient(lambda: self._answered(image), end)

    async def _answered(self, image: bytes) -> bytes:
        asked = engine_request(self.request, self.service, self.query, image, self.options)
        asked.tags = self.tags
        answer = await self.engine.answer(asked)
        self.instances += len(asked.result.parts)
        return answer.body

    def _failed(self, task: StudioTask, error: Exception) -> bytes:
        """Count and log a problem, which Label Studio does not show, and return it as JSON."""
        problem = problem_of(error)
        self.service.metrics.requests.rejected(problem.kind)
        if problem.kind in OWN:
            self.request.state.problem = problem.kind
        unexpected = error if problem.kind == "internal-error" else None
        request_id = self.request.state.request_id
        _log.warning("request %s, task %s: %s", request_id, task.id, problem.detail, exc_info=unexpected)
        return json.dumps({"error": problem.detail, "problem": problem.kind}).encode()


def chosen_engine(request: Request, service: Service, config: LabelConfig) -> Engine:
    """Return the engine that a configuration names, or the default.

    Raises Problem, ParameterError if its parameters or its labels are not for this model, Starting.
    """
    query = with_body(request, {**config.parameters, "format": config.format})
    engine = service.engine(query.model)
    parse_options(query, engine.manifest.task, engine.manifest.categories)
    config.check(engine.manifest.categories)
    return engine
