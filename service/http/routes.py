"""The pages of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from model.pointrend.render import SIDES, START
from service.engine.engine import Engine, Place
from service.engine.workers import Workers
from service.http import schemas
from service.http.auth import Keys
from service.http.body_limits import Bodies
from service.http.parameters import Ask, ParameterError, SegmentQuery, check_once
from service.http.problems import MEDIA_TYPE, Problem
from service.http.upload import read_upload, unless_gone
from service.observe.metrics import Metrics
from service.output.answer import Answer, answer
from service.settings import Settings


@dataclass(frozen=True)
class Service:
    """What the pages show and use. Engines by name, the default first."""

    settings: Settings
    engines: Mapping[str, Engine]
    workers: Workers
    bodies: Bodies
    metrics: Metrics
    keys: Keys

    def engine(self, name: str | None) -> Engine:
        """Raises ParameterError if there is none of that name, Problem if it is not ready."""
        chosen = next(iter(self.engines)) if name is None else name
        if chosen not in self.engines:
            raise ParameterError(
                "model", f"there is no model {chosen[:80]!r}; loaded: {', '.join(self.engines)}"
            )
        engine = self.engines[chosen]
        if engine.failure is not None:
            raise Problem("unhealthy", f"model {chosen!r} cannot serve: {engine.failure}")
        if not engine.ready:
            raise Problem("starting", f"model {chosen!r} is warming up", headers={"Retry-After": "5"})
        return engine

    def check_health(self) -> None:
        """Raises Problem if a model's worker is dead or stuck, or it failed to warm up."""
        for name, engine in self.engines.items():
            if engine.failure is not None:
                raise Problem("unhealthy", f"model {name!r} cannot serve: {engine.failure}")
            if not engine.alive:
                raise Problem("unhealthy", f"the worker of {name!r} is not running, or stuck")

    def check_key(self, request: Request) -> None:
        """Raises Problem unless the request has a valid API key, if one is needed."""
        self.keys.check(request.headers)


Traced = Callable[[Mapping[str, float], str], None]  # seconds by stage, model


def router(service: Service, traced: Traced | None = None) -> APIRouter:
    """`traced` is told of every answer, inside its request's span."""
    routes = APIRouter()

    keyed = [Depends(service.check_key)]  # before the query is looked at

    @routes.post(
        "/segment",
        responses=_SEGMENT,
        openapi_extra={"requestBody": _BODY},
        tags=["masks"],
        dependencies=keyed,
    )
    async def segment(request: Request, query: Annotated[SegmentQuery, Query()]) -> Response:
        """Crisp masks of what is in an image, or its label map. Boxes and masks are in its pixels as displayed."""
        engine = service.engine(query.model)
        engine.check_room()  # rather before the body is sent than after
        check_once(request.query_params.multi_items())
        limits = service.settings
        with service.bodies.room() as take:
            try:
                upload = await read_upload(request, limits.max_body_bytes, limits.body_seconds, take)
            except ClientDisconnect:
                service.metrics.cancelled("body")
                raise
            ask = query.ask(engine.manifest.categories, upload.boxes, engine.manifest.task)
            if ask.deadline is None and limits.deadline_ms is not None:
                ask = replace(ask, deadline=limits.deadline_ms / 1000)
            with engine.place(ask.options) as place:
                written = await unless_gone(
                    request, _written(service, engine, upload.image, ask, place, request)
                )
        if traced is not None:
            traced(written.seconds, engine.manifest.name)
        headers = {"server-timing": ", ".join(f"{k};dur={1000 * v:.2f}" for k, v in written.seconds.items())}
        return Response(written.body, media_type=written.media_type, headers=headers)

    @routes.get("/models", responses=_problems(401), tags=["operation"], dependencies=keyed)
    async def models() -> list[schemas.ModelCard]:
        """The loaded models, the default first."""
        return [_card(engine, service.workers.threads) for engine in service.engines.values()]

    @routes.get("/healthz", responses=_problems(503), tags=["operation"])
    async def healthz() -> schemas.Status:
        """Whether the threads and tasks that compute are alive."""
        service.check_health()
        return schemas.Status(status="ok")

    @routes.get("/readyz", responses=_problems(503), tags=["operation"])
    async def readyz() -> schemas.Status:
        """Whether every model has segmented its warm-up picture."""
        service.check_health()
        if waiting := [name for name, engine in service.engines.items() if not engine.ready]:
            raise Problem(
                "starting", f"not warmed up yet: {', '.join(waiting)}", headers={"Retry-After": "1"}
            )
        return schemas.Status(status="ready")

    @routes.get("/metrics", tags=["operation"], response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("docs")

    return routes


async def _written(
    service: Service, engine: Engine, image: bytes, ask: Ask, place: Place, request: Request
) -> Answer:
    """The encoded answer, measured."""
    found = await engine.segment(image, ask.options, place, ask.deadline)
    identity = request.state.request_id
    try:
        written = await service.workers.in_pool(
            lambda left: answer(found, engine.manifest, ask, identity, left)
        )
    except asyncio.CancelledError:
        service.metrics.cancelled("encode")
        raise
    truncated = any(part.truncated for part in found.parts)
    coarser = "pressure" if found.degraded else "deadline" if truncated else None
    engine.metrics.answered(written.seconds, [part.side for part in found.parts], coarser)
    request.state.stages_ms = {stage: round(1000 * value, 2) for stage, value in written.seconds.items()}
    request.state.instances = len(found.parts)
    return written


def _card(engine: Engine, threads: int) -> schemas.ModelCard:
    manifest = engine.manifest
    pixels = manifest.preprocessing
    instances = manifest.model if manifest.model.task == "instance" else None
    sides = [START] if manifest.model.point_head is None else list(SIDES)
    return schemas.ModelCard(
        name=manifest.name,
        task=manifest.task,
        ready=engine.ready,
        categories=[schemas.CategoryCard(id=c.id, name=c.name) for c in manifest.categories],
        preprocessing=schemas.PreprocessingCard(short_edge=pixels.short_edge, long_edge=pixels.long_edge),
        sides=sides if instances else None,
        score_threshold=instances.score_threshold if instances else None,
        max_detections=instances.max_detections if instances else None,
        palette=None if instances else list(manifest.palette),
        providers=list(engine.providers),
        threads=threads,
        parity=manifest.parity,
    )


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": "A problem, explained", "content": content} for status in statuses}


_SEGMENT = _problems(400, 401, 408, 413, 415, 422, 429, 500, 503, 504) | {
    200: {
        "model": schemas.SegmentAnswer | schemas.LabelAnswer | list[schemas.CocoResult],
        "description": "The instances, best first; with given boxes, one for each in their order. Of a semantic "
        "model a segment for each class present, or its label map.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    }
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "additionalProperties": False,
                "properties": {
                    "image": _BINARY["schema"],
                    "boxes": {"type": "string", "description": "As the parameter `boxes`."},
                },
            }
        },
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
    },
}
