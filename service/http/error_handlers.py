"""Which exception becomes which answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from model.predict.image_errors import ImageError
from service.engine.errors import (
    DeadlinePassed,
    NotKept,
    OutOfMemory,
    ParameterError,
    Stopped,
    TooCostly,
    TryLater,
)
from service.http import problems
from service.http.middleware import CLIENT_GONE
from service.http.problems import MAX_DETAIL, Problem
from service.http.query.echo import cut
from service.http.query.parameters import SegmentQuery, explain
from service.http.query.window import RenderQuery
from service.observe.metrics import Metrics
from service.output.limits import AnswerTooLarge

# The first base of an exception that is listed here decides.
_PROBLEMS: Mapping[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda error: error,
    ImageError: lambda error: Problem(error.kind, cut(str(error), MAX_DETAIL)),
    ParameterError: lambda error: problems.from_parameters([error]),
    NotKept: lambda error: Problem(error.kind, str(error)),
    TooCostly: lambda error: Problem(error.kind, str(error)),
    AnswerTooLarge: lambda error: Problem(error.kind, str(error)),
    TryLater: problems.from_refusal,
    DeadlinePassed: lambda error: Problem(error.kind, "not even coarse masks were ready; allow more time"),
    Stopped: lambda error: Problem("stopped", "the model has stopped working; ask another replica"),
    MemoryError: lambda _: problems.from_refusal(OutOfMemory("there is too little memory; try again later")),
    HTTPException: lambda error: problems.from_status(error.status_code, error.detail, error.headers),
}


_QUERIES: Mapping[str, type[BaseModel]] = {
    "/segment": SegmentQuery,
    "/hf/image-segmentation": SegmentQuery,
    "/render": RenderQuery,
}


def problem_of(error: Exception) -> Problem:
    """Return the problem that says what happened. Of an exception that is not known it reveals nothing."""
    known = next((kind for kind in type(error).__mro__ if kind in _PROBLEMS), None)
    return Problem("internal-error", "an unexpected error") if known is None else _PROBLEMS[known](error)


def add_error_handlers(app: FastAPI, metrics: Metrics) -> None:
    """Let the app answer known exceptions with problems, each of which is counted and named in the access log."""

    def answered(request: Request, problem: Problem) -> Response:
        metrics.requests.rejected(problem.kind)
        request.state.problem = problem.kind
        return problem.response(request)

    def handler(explained: Callable[[Any], Problem]) -> Callable[[Request, Exception], Any]:
        async def answer(request: Request, error: Exception) -> Response:
            return answered(request, explained(error))

        return answer

    for kind, explained in _PROBLEMS.items():
        app.add_exception_handler(kind, handler(explained))

    async def invalid(request: Request, error: Any) -> Response:
        known = _QUERIES[request.scope["route"].path].model_fields
        return answered(request, problems.from_parameters(explain(error.errors(), known)))

    app.add_exception_handler(RequestValidationError, invalid)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)

    app.add_exception_handler(ClientDisconnect, gone)
