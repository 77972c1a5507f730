"""/label-studio: an ML backend for Label Studio, as its server calls one. Only there if the settings name a server."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.engine.errors import QueueFull, Starting
from service.http.body.limits import Body
from service.http.body.upload import unless_gone
from service.http.error_handlers import problem_of
from service.http.label_studio.config import LabelConfig, read_config
from service.http.label_studio.files import StudioFiles
from service.http.label_studio.predict import Predicting, chosen_engine
from service.http.label_studio.tasks import PredictBody, SetupBody, ValidateBody, parsed, read_document
from service.http.openapi import STUDIO_PROBLEMS, json_body, problem_responses
from service.http.routes.segment import receive
from service.http.schemas.tools import StudioModel, StudioPredictions, StudioStatus, StudioVersions
from service.http.service import FEW_PARAMETERS, NEEDS_KEY, CurrentService, Service

ROOT = "/label-studio"
MAX_REQUESTS = 8  # for predictions at a time; each may have many tasks
WAIT = 5.0  # seconds after which one more may have a place
_CONFIG = {"type": "string", "description": "The labelling configuration of a project."}
_TASKS = {"type": "array", "items": {"type": "object"}, "description": "Each with an id and `data`."}
_CONTEXT = {"type": "object", "description": "`context` has what was drawn, if a mask of that is wanted."}
_REFUSALS = problem_responses(
    "unauthorized", "malformed-json", "too-many-bytes", "invalid-parameter", "starting", "unhealthy"
)
_log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)


def studio_router(files: StudioFiles) -> APIRouter:
    """Return the routes of a backend for the Label Studio whose files these are."""
    router = APIRouter(prefix=ROOT, tags=["Label Studio"])
    closed = [NEEDS_KEY, FEW_PARAMETERS]
    places = asyncio.Semaphore(MAX_REQUESTS)

    @router.get(
        "/health", dependencies=closed, responses=problem_responses("unauthorized", "starting", "unhealthy")
    )
    async def label_studio_health(service: CurrentService) -> StudioStatus:
        """Tell whether predictions can be asked for."""
        service.check_health()
        if not service.default.ready:
            raise Starting(f"model {service.default.manifest.name!r} is warming up")
        return StudioStatus(status="UP", model_class="PointRend")

    @router.get("/versions", dependencies=closed, responses=problem_responses("unauthorized"))
    async def label_studio_versions(service: CurrentService) -> StudioVersions:
        """Return the names of the loaded models, the default first."""
        return StudioVersions(versions=list(service.engines))

    @router.post(
        "/setup",
        dependencies=closed,
        responses=_REFUSALS,
        openapi_extra={"requestBody": json_body(schema=_CONFIG)},
    )
    async def label_studio_setup(request: Request, service: CurrentService) -> StudioModel:
        """Tell which model serves a project, or what is wrong with its labelling configuration."""
        with service.bodies.reserve() as body:
            sent = await _read(request, service, body, SetupBody)
        return await _model(request, service, sent.configuration)

    @router.post(
        "/validate",
        dependencies=closed,
        responses=_REFUSALS,
        openapi_extra={"requestBody": json_body(config=_CONFIG)},
    )
    async def label_studio_validate(request: Request, service: CurrentService) -> StudioModel:
        """Tell what is wrong with a labelling configuration, if anything is."""
        with service.bodies.reserve() as body:
            sent = await _read(request, service, body, ValidateBody)
        return await _model(request, service, sent.config)

    @router.post(
        "/predict",
        dependencies=closed,
        response_model=StudioPredictions,
        responses=STUDIO_PROBLEMS,
        openapi_extra={"requestBody": json_body(tasks=_TASKS, label_config=_CONFIG, params=_CONTEXT)},
    )
    async def label_studio_predict(request: Request, service: CurrentService) -> Response:
        """Return predictions of tasks: of all objects, or of what is in rectangles that were drawn."""
        try:
            if places.locked():
                raise QueueFull(WAIT)
            service.default.check_room()  # which is that of all models
            async with places:
                # The share in the memory for bodies lasts until the answer, and counts the predictions, too.
                with service.bodies.reserve() as body:
                    return await _predicted(request, service, files, body)
        except Exception as error:
            _tell(request, error)
            raise

    @router.post("/webhook", status_code=204, response_class=Response)
    async def label_studio_webhook() -> None:
        """Accept an event and ignore it.

        Label Studio reports every event to its backends, because some of them learn from annotations.
        """

    return router


async def _predicted(request: Request, service: Service, files: StudioFiles, body: Body) -> Response:
    """Return the answer with all predictions. Raises what says why there is none."""
    sent = await _read(request, service, body, PredictBody)
    config = await _config(service, sent.label_config)
    predicting = Predicting.of(request, service, files, body, config, sent.drawn)
    found = await unless_gone(request, predicting.results(sent.tasks))
    request.state.instances = predicting.instances
    version = StudioModel(model_version=predicting.engine.manifest.name).model_dump_json()[1:].encode()
    return Response(b'{"results":[' + b",".join(found) + b"]," + version, media_type="application/json")


async def _read(request: Request, service: Service, body: Body, kind: type[M]) -> M:
    """Return what a request has sent. Raises Problem."""
    upload = await receive(request, service, body, read_document)
    return await service.resources.workers.in_pool(lambda _: parsed(kind, upload.image))


async def _config(service: Service, text: str) -> LabelConfig:
    """Return what a labelling configuration says. Raises ParameterError."""
    return await service.resources.workers.in_pool(lambda _: read_config(text))


async def _model(request: Request, service: Service, text: str) -> StudioModel:
    """Return the model for a labelling configuration. Raises what says why there is none."""
    try:
        engine = chosen_engine(request, service, await _config(service, text))
    except Exception as error:
        _tell(request, error)
        raise
    return StudioModel(model_version=engine.manifest.name)


def _tell(request: Request, error: Exception) -> None:
    """Log why a request is refused, because Label Studio shows the status alone."""
    if not isinstance(error, ClientDisconnect):
        _log.warning("request %s: %s", request.state.request_id, problem_of(error).detail)
