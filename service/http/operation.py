"""The pages for those who run the service: its models, its health, its metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from service.engine.errors import Starting
from service.http.model_card import model_card
from service.http.openapi import problem_responses
from service.http.schemas import ModelCard, Status
from service.http.service import NEEDS_KEY, CurrentService

router = APIRouter()


@router.get("/models", responses=problem_responses(401), tags=["operation"], dependencies=[NEEDS_KEY])
async def models(service: CurrentService) -> list[ModelCard]:
    """Return the loaded models, the default first."""
    return [model_card(engine, service.resources.workers.threads) for engine in service.engines.values()]


@router.get("/healthz", responses=problem_responses(503), tags=["operation"])
async def healthz(service: CurrentService) -> Status:
    """Tell whether the threads and tasks that compute are alive."""
    service.check_health()
    return Status(status="ok")


@router.get("/readyz", responses=problem_responses(503), tags=["operation"])
async def readyz(service: CurrentService) -> Status:
    """Tell whether every model has segmented its warm-up picture, and not every request of late has failed."""
    service.check_health()
    service.failures.check()
    if waiting := [name for name, engine in service.engines.items() if not engine.ready]:
        raise Starting(f"not warmed up yet: {', '.join(waiting)}", 1)
    return Status(status="ready")


@router.get("/metrics", tags=["operation"], response_class=Response)
async def metrics(service: CurrentService) -> Response:
    """Return the metrics for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def home() -> Response:
    """Redirect to the documentation."""
    return RedirectResponse("docs")
