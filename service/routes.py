"""The pages of the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from model.render import SIDES, START
from service import schemas
from service.answers import Answer, answer
from service.engine import Engine
from service.metrics import Metrics
from service.options import ParameterError, SegmentQuery, check_once
from service.problems import MEDIA_TYPE, Problem
from service.settings import Settings
from service.upload import read_upload, unless_gone
from service.workers import Workers


@dataclass(frozen=True)
class Service:
    """What the pages show and use. Engines by name, the default first."""

    settings: Settings
    engines: Mapping[str, Engine]
    workers: Workers
    metrics: Metrics

    def engine(self, name: str | None) -> Engine:
        """Raises ParameterError if there is none of that name, Problem if it is not ready."""
        chosen = next(iter(self.engines)) if name is None else name
        if chosen not in self.engines:
            raise ParameterError(
                "model", f"there is no model {chosen[:80]!r}; loaded: {', '.join(self.engines)}"
            )
        engine = self.engines[chosen]
        if not engine.ready:
            raise Problem("starting", f"model {chosen!r} is warming up", headers={"Retry-After": "5"})
        return engine


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post("/segment", responses=_SEGMENT, openapi_extra={"requestBody": _BODY}, tags=["masks"])
    async def segment(request: Request, query: Annotated[SegmentQuery, Query()]) -> Response:
        """Crisp masks of what is in an image. Boxes and masks are in its pixels as displayed."""
        engine = service.engine(query.model)
        check_once(request.query_params.multi_items())
        upload = await read_upload(request, service.settings.max_body_bytes)
        ask = query.ask(engine.manifest.categories, upload.boxes)
        with engine.place():
            found = await unless_gone(request, engine.segment(upload.image, ask.options))

            def encode() -> tuple[Answer, bytes]:
                written = answer(found, engine.manifest, ask, request.state.request_id)
                return written, written.to_json()

            written, body = await service.workers.in_pool(encode)
        service.metrics.segmented(engine.manifest.name, written.seconds, len(found.masks))
        return Response(body, media_type="application/json")

    @routes.get("/models", tags=["operation"])
    async def models() -> list[schemas.ModelCard]:
        """The loaded models, the default first."""
        return [_card(engine) for engine in service.engines.values()]

    @routes.get("/healthz", responses=_problems(503), tags=["operation"])
    async def healthz() -> schemas.Status:
        """Whether the threads and tasks that compute are alive."""
        if dead := [name for name, engine in service.engines.items() if not engine.alive]:
            raise Problem("unhealthy", f"the workers of {', '.join(dead)} are not running")
        return schemas.Status(status="ok")

    @routes.get("/readyz", responses=_problems(503), tags=["operation"])
    async def readyz() -> schemas.Status:
        """Whether every model has segmented its warm-up picture."""
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


def _card(engine: Engine) -> schemas.ModelCard:
    manifest = engine.manifest
    pixels = manifest.preprocessing
    return schemas.ModelCard(
        name=manifest.name,
        task=manifest.task,
        ready=engine.ready,
        categories=[schemas.CategoryCard(id=c.id, name=c.name) for c in manifest.categories],
        preprocessing=schemas.PreprocessingCard(short_edge=pixels.short_edge, long_edge=pixels.long_edge),
        sides=[START] if manifest.point_head is None else list(SIDES),
        score_threshold=manifest.score_threshold,
        max_detections=manifest.max_detections,
        providers=list(engine.providers),
        parity=manifest.parity,
    )


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": "A problem, explained", "content": content} for status in statuses}


_SEGMENT = _problems(400, 413, 415, 422, 429, 500, 503) | {
    200: {
        "model": schemas.SegmentAnswer | list[schemas.CocoResult],
        "description": "The instances, best first; with given boxes, one for each in their order.",
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
