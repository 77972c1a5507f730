"""An answer as a stream of lines: each level of a request's masks as soon as it is finished, and then the answer.

Whoever reads slowly gets the newest level whenever there is room for a line, and none of those that were missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import ExitStack, aclosing
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.engine.engine import Engine
from service.engine.errors import ParameterError
from service.engine.levels import Levels
from service.engine.request import Request as EngineRequest
from service.http.body.upload import unless_gone
from service.http.error_handlers import problem_of
from service.http.middleware import CLIENT_GONE, OUTCOME
from service.observe.request_metrics import RequestMetrics
from service.output.encode import Answer
from service.output.formats import FORMATS

MEDIA_TYPE = "application/x-ndjson"
HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}  # the latter lets nginx pass lines on at once
_log = logging.getLogger(__name__)


def is_asked(headers: Headers) -> bool:
    """Return whether a client wants lines rather than one JSON document."""
    accepted = _qualities(",".join(headers.getlist("accept")))
    return accepted.get(MEDIA_TYPE, 0.0) > accepted.get("application/json", 0.0)


def check_format(name: str) -> None:
    """Raise ParameterError unless answers of this format can be a line of a stream."""
    if not FORMATS[name].enveloped:
        allowed = ", ".join(each for each, format in FORMATS.items() if format.enveloped)
        raise ParameterError("format", f"of a stream must be one of {allowed}, got {name!r}")


def _qualities(accept: str) -> dict[str, float]:
    """Return how much a client wants each media type that it names, from 0 to 1."""
    found = {}
    for part in accept.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            found[kind] = float(weight)
        except ValueError:
            found[kind] = 0.0
    return found


async def answered(request: Request, engine: Engine, asked: EngineRequest) -> Answer:
    """Return the answer of an engine, unless the client leaves, and note what the access log says of it."""
    answer = await unless_gone(request, engine.answer(asked))
    request.state.stages_ms = {stage: round(1000 * value, 2) for stage, value in answer.seconds.items()}
    request.state.instances = len(asked.result.parts)
    return answer


def timing_header(answer: Answer) -> dict[str, str]:
    """Return the header that tells the milliseconds of each stage."""
    return {
        "server-timing": ", ".join(
            f"{stage};dur={1000 * value:.2f}" for stage, value in answer.seconds.items()
        )
    }


async def streamed(
    request: Request, metrics: RequestMetrics, engine: Engine, asked: EngineRequest, body: ExitStack
) -> LineStream:
    """Return the answer of an engine as a stream, once its first line is there. Until then, raise what happens.

    `body` is closed when the engine needs the request's body no longer.
    """
    levels = asked.levels = Levels()
    lines = _lines(request, engine, asked, levels, body)
    first = await anext(lines)
    metrics.first_mask(engine.manifest.name, asyncio.get_running_loop().time() - asked.arrived)
    return LineStream(request, metrics, levels, first, lines)


class LineStream(Response):
    """Sends lines as they come. An error becomes the last line."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        request: Request,
        metrics: RequestMetrics,
        levels: Levels,
        first: bytes,
        lines: AsyncGenerator[bytes],
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._request = request
        self._metrics = metrics
        self._levels = levels
        self._first = first
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines. Each is asked for only when the client has taken those before it."""

        async def write(line: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": line, "more_body": more})

        async with aclosing(self._lines) as lines:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await write(self._first)
            try:
                while True:
                    with self._levels.held_up():
                        await write(b"")  # returns when what was written before is with the kernel
                    await write(await anext(lines))
            except StopAsyncIteration:
                await write(b"", more=False)
            except ClientDisconnect:
                scope["state"][OUTCOME] = CLIENT_GONE
            except Exception as error:  # whatever it was, the client is told
                await write(self._failed(error), more=False)

    def _failed(self, error: Exception) -> bytes:
        """Count an error as that of any request, and return it as a line."""
        problem, state = problem_of(error), self._request.state
        if problem.kind == "internal-error":
            _log.error("request %s failed", state.request_id, exc_info=error)
        self._metrics.rejected(problem.kind)
        state.problem = problem.kind
        setattr(state, OUTCOME, problem.status)
        content = problem.content(state.request_id, self._request.scope.get("root_path", ""))
        return json.dumps({"event": "error", **content}).encode() + b"\n"


async def _lines(
    request: Request, engine: Engine, asked: EngineRequest, levels: Levels, body: ExitStack
) -> AsyncGenerator[bytes]:
    """Yield a line for each level that is finished before the answer, and then the answer."""

    def ended(_: asyncio.Task[Answer]) -> None:
        levels.close()
        asked.image = b""
        body.close()

    task = asyncio.create_task(answered(request, engine, asked))
    task.add_done_callback(ended)
    try:
        while (level := await levels.next()) is not None:
            yield await _unless_failed(task, engine.encode_level(asked, level))
        yield (await task).body
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _unless_failed(task: asyncio.Task[Answer], work: Coroutine[Any, Any, bytes]) -> bytes:
    """Return the result of the work, but raise what the task raises if it fails in the meantime."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait((task, working), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await task
        return await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
