"""The FastAPI app: bundles are opened, and routes, middleware and error handlers put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from export.bundle import Bundle
from model.errors import UserError
from service.assembly import assemble, version
from service.decoding.decoder import Decoder
from service.engine.engine import serving
from service.execution import open_bundles
from service.http.error_handlers import add_error_handlers
from service.http.forgiving import ForgivingRoutes
from service.http.headers import JSON_LENGTH, KEPT_ID, REQUEST_ID
from service.http.middleware import RequestRecorder
from service.http.openapi import describe_api
from service.http.routes import hugging_face, open_inference, operation, render, segment
from service.http.routes.documentation import add_documentation
from service.http.routes.page import add_page
from service.http.service import Service
from service.settings import Settings
from service.torch_threads import set_torch_threads

if TYPE_CHECKING:
    from service.http.label_studio.files import StudioFiles
    from service.observe.traces import Traces

_log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    bundles: Sequence[Bundle] | None = None,
    traces: Traces | None = None,
    decoder: Decoder | None = None,
) -> FastAPI:
    """Return the app that serves these bundles, or those of the settings.

    `traces` are the app's traces; without them, the settings decide whether there are any. `decoder` decodes images;
    without it, processes do. Raises BundleError, and UserError if there is no model to serve.
    """
    set_torch_threads(1)  # of this thread; the device's will compute
    if bundles is None:
        bundles = open_bundles(settings, settings.bundles)
    if bundles:
        settings = settings.on(bundles[0].execution.device)
    if traces is None and settings.traces:
        traces = _traces()
    studio = _studio_files(settings)
    service = assemble(settings, bundles, traces, decoder)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with serving(service.resources):
            warming = asyncio.create_task(_warm_up(service))
            try:
                yield
            finally:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
                if studio is not None:
                    await studio.close()
                if traces is not None:
                    await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="PointRend, served",
        version=version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    if traces is not None:
        traces.instrument(app)
    app.include_router(segment.router)
    app.include_router(render.router)
    app.include_router(hugging_face.router)
    app.include_router(open_inference.router)
    if studio is not None:
        from service.http.routes.label_studio import studio_router

        app.include_router(studio_router(studio))
    app.include_router(operation.router)
    add_documentation(app)
    add_page(app, shown=settings.page)
    app.add_middleware(ForgivingRoutes)
    app.add_middleware(RequestRecorder, metrics=service.metrics, failures=service.failures)
    if settings.cors_origins:
        # Outside of the recorder: pages must be able to read its 500s, too. Preflights end here and need no key.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "x-api-key", REQUEST_ID, JSON_LENGTH),
            expose_headers=(
                REQUEST_ID,
                KEPT_ID,
                JSON_LENGTH,
                "server-timing",
                "retry-after",
                "www-authenticate",
            ),
        )
    add_error_handlers(app, service.metrics)
    describe_api(app, keys=service.keys.needed)
    return app


def _traces() -> Traces:
    """Return traces that are sent. Raises UserError if their packages are not installed."""
    try:
        from service.observe.traces import Traces
    except ImportError as error:
        raise UserError(
            f"traces: {error.name} is not installed: in the repository, .venv/bin/pip install -e '.[traces]'"
        ) from error
    return Traces()


def _studio_files(settings: Settings) -> StudioFiles | None:
    """Return the files of the Label Studio of the settings, if they name one.

    Raises UserError if httpx is not installed, which nothing else needs.
    """
    if settings.label_studio_url is None:
        return None
    try:
        from service.http.label_studio.files import studio_files
    except ImportError as error:
        raise UserError(
            f"label_studio_url: {error.name} is not installed: in the repository, .venv/bin/pip install -e "
            "'.[label-studio]'"
        ) from error
    return studio_files(settings.label_studio_url, settings)


async def _warm_up(service: Service) -> None:
    for name, engine in service.engines.items():
        try:
            await engine.warm_up()
            _log.info("model %s is ready on %s", name, ", ".join(engine.providers))
        except Exception as error:  # the service goes on with its other models, and /healthz tells
            engine.failure = f"it failed to warm up: {error}"
            _log.exception("model %s failed to warm up", name)
