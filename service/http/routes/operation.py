"""The pages for those who run the service: its models, its health, its metrics, and what problems mean."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import Starting
from service.http.model_card import model_card
from service.http.openapi import problem_responses
from service.http.problem_kinds import KINDS
from service.http.problems import Problem
from service.http.schemas.cards import ModelCard
from service.http.schemas.problems import ProblemExplanation, Status
from service.http.service import NEEDS_KEY, CurrentService

router = APIRouter()
ProblemName = Annotated[str, Path(json_schema_extra={"enum": list(KINDS)})]  # any other is not found


@router.get(
    "/models",
    responses=problem_responses("unauthorized"),
    response_model_exclude_unset=True,
    tags=["operation"],
    dependencies=[NEEDS_KEY],
)
async def list_models(service: CurrentService) -> list[ModelCard]:
    """Return the loaded models, the default first. GET /models/{name} also has the parity table, which is long."""
    return [model_card(engine, service) for engine in service.engines.values()]


@router.get(
    "/models/{name}",
    responses=problem_responses("unauthorized", "not-found"),
    tags=["operation"],
    dependencies=[NEEDS_KEY],
)
async def get_model(name: str, service: CurrentService) -> ModelCard:
    """Return all that is known of a loaded model, with the table of its parity."""
    engine = service.loaded(name)
    return model_card(engine, service).model_copy(update={"parity": engine.manifest.parity})


@router.get("/problems/{name}", responses=problem_responses("not-found"), tags=["operation"])
async def explain_problem(name: ProblemName, request: Request) -> ProblemExplanation:
    """Return what a type of problem means and what to do about it."""
    if name not in KINDS:
        raise Problem("not-found", f"there is no problem {name[:80]!r}; there are: {', '.join(KINDS)}")
    about = KINDS[name]
    return ProblemExplanation(
        type=f"{request.scope['root_path']}/problems/{name}",
        title=about.title,
        status=about.status,
        meaning=about.meaning,
        remedy=about.remedy,
    )


@router.get("/healthz", responses=problem_responses("unhealthy"), tags=["operation"])
async def healthz(service: CurrentService) -> Status:
    """Tell whether the threads and tasks that compute are alive."""
    service.check_health()
    return Status(status="ok")


@router.get("/readyz", responses=problem_responses("starting", "unhealthy"), tags=["operation"])
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
