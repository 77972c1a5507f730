"""The FastAPI app: bundles opened, pages, problems, and the life of the engines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from export.bundle import Bundle, open_bundle
from export.session import Execution
from model.predict.images import ImageError
from service.engine.admission import QueueFull
from service.engine.batching import Limits
from service.engine.engine import Engine, Rules, serving
from service.engine.request import DeadlinePassed, Stopped
from service.engine.workers import NoDecoder, Workers
from service.http import problems, schemas
from service.http.auth import Keys
from service.http.body_limits import Bodies
from service.http.documentation import add_documentation
from service.http.middleware import CLIENT_GONE, REQUEST_ID, Edge
from service.http.parameters import ParameterError, explain
from service.http.problems import Problem
from service.http.routes import Service, router
from service.observe.metrics import Metrics, ModelMetrics
from service.settings import Settings

if TYPE_CHECKING:
    from service.observe.traces import Traces

_log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    bundles: Sequence[Bundle] | None = None,
    tracing: Callable[[FastAPI], Traces] | None = None,
) -> FastAPI:
    """The service of these bundles, or of the settings'. Raises BundleError, or ValueError if there is none.

    `tracing` makes an app's traces, by default as the settings say.
    """
    if bundles is None:
        execution = Execution(settings.device, settings.thread_budget)
        bundles = [open_bundle(folder, execution) for folder in settings.bundles]
    service = _service(settings, bundles)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with serving(service.engines.values(), service.workers):
            warming = asyncio.create_task(_warm_up(service))
            try:
                yield
            finally:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
                if traces is not None:
                    await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="PointRend, served", version=_version(), lifespan=lifespan, docs_url=None, redoc_url=None
    )
    traces = (tracing or _tracing(settings))(app)
    app.include_router(router(service, None if traces is None else traces.answered))
    add_documentation(app)
    app.add_middleware(Edge, metrics=service.metrics)
    if settings.cors_origins:
        # Around the edge: pages must be able to read its 500s too. Preflights end here, before keys are asked for.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "x-api-key", REQUEST_ID),
            expose_headers=(REQUEST_ID, "server-timing", "retry-after", "www-authenticate"),
        )
    _add_handlers(app, service.metrics)
    _describe_problems(app)
    return app


def _service(settings: Settings, bundles: Sequence[Bundle]) -> Service:
    names = [bundle.manifest.name for bundle in bundles]
    if not names:
        raise ValueError("there is no model to serve: give --bundle DIR or set POINTREND_BUNDLES")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two bundles have the same name: {', '.join(twice)}")
    workers, metrics = Workers(settings.thread_budget, settings.stuck_seconds), Metrics()
    metrics.built(_version(), settings.device, settings.thread_budget)
    rules = _rules(settings)
    engines = {
        name: Engine(bundle, workers, rules, ModelMetrics(metrics, name))
        for name, bundle in zip(names, bundles, strict=True)
    }
    for name, engine in engines.items():
        metrics.watch(name, engine, rules.queue_seconds)
    return Service(settings, engines, workers, Bodies(settings.held_bytes), metrics, Keys.of(settings))


def _rules(settings: Settings) -> Rules:
    return Rules(
        max_pixels=settings.max_pixels,
        max_points=settings.max_points,
        batching=Limits(settings.max_wait_ms / 1000, settings.batch_budget, settings.step_points),
        queue_seconds=settings.queue_seconds,
        queue_length=settings.queue_length,
        degrade_at=settings.degrade_at,
        decode_seconds=settings.decode_seconds,
    )


def _tracing(settings: Settings) -> Callable[[FastAPI], Traces | None]:
    """Raises ValueError if traces are wanted and their packages are not there."""
    if not settings.traces:
        return lambda app: None
    try:
        from service.observe.traces import Traces
    except ImportError as error:
        raise ValueError(
            f"traces: {error.name} is not installed: in the repository, .venv/bin/pip install -e '.[traces]'"
        ) from error
    return Traces.of


async def _warm_up(service: Service) -> None:
    for name, engine in service.engines.items():
        try:
            await engine.warm_up()
            _log.info("model %s is ready on %s", name, ", ".join(engine.providers))
        except Exception as error:  # the service lives on for the other models; /healthz says so
            engine.failure = f"it failed to warm up: {error}"
            _log.exception("model %s failed to warm up", name)


def _add_handlers(app: FastAPI, metrics: Metrics) -> None:
    def answered(request: Request, problem: Problem) -> Response:
        metrics.rejected(problem.kind)
        request.state.problem = problem.kind
        return problem.response(request)

    @app.exception_handler(Problem)
    async def _(request: Request, error: Problem) -> Response:
        return answered(request, error)

    @app.exception_handler(ImageError)
    async def _(request: Request, error: ImageError) -> Response:
        return answered(request, problems.of_image(error))

    @app.exception_handler(ParameterError)
    async def _(request: Request, error: ParameterError) -> Response:
        return answered(request, problems.of_parameters([error]))

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return answered(request, problems.of_parameters(explain(error.errors())))

    @app.exception_handler(QueueFull)
    async def _(request: Request, error: QueueFull) -> Response:
        return answered(request, problems.of_queue(error))

    @app.exception_handler(DeadlinePassed)
    async def _(request: Request, error: DeadlinePassed) -> Response:
        return answered(request, Problem("deadline", "not even coarse masks were ready; allow more time"))

    @app.exception_handler(NoDecoder)
    async def _(request: Request, error: NoDecoder) -> Response:
        return answered(request, Problem("no-decoder", str(error), headers={"Retry-After": "5"}))

    @app.exception_handler(Stopped)
    async def _(request: Request, error: Stopped) -> Response:
        return answered(request, Problem("stopped", "the model has stopped working; ask another replica"))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        return answered(request, problems.of_status(error.status_code, error.detail, error.headers))

    @app.exception_handler(ClientDisconnect)
    async def _(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)


def _describe_problems(app: FastAPI) -> None:
    """FastAPI knows its own 422 only: replace it in the OpenAPI document by the problems answered here."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        parts = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        details = schemas.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        parts |= details.pop("$defs", {}) | {"ProblemDetails": details}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _version() -> str:
    try:
        return version("pointrend-served")
    except PackageNotFoundError:  # run from a checkout
        return "0"
