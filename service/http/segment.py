"""POST /segment: an image in, its masks or its label map out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.engine.engine import Engine
from service.engine.request import Request as EngineRequest
from service.http import problems
from service.http.body.form import Upload
from service.http.body.limits import Body
from service.http.body.upload import FORM, content_type_of, read_upload, unless_gone
from service.http.openapi import IMAGE_BODY, SEGMENT_DESCRIPTION, SEGMENT_RESPONSES
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery, check_number, check_once, explain, with_form
from service.http.service import NEEDS_KEY, CurrentService, Service

router = APIRouter()


async def _check_number(request: Request) -> None:
    check_number(request.scope["query_string"])


@router.post(
    "/segment",
    description=SEGMENT_DESCRIPTION,
    responses=SEGMENT_RESPONSES,
    openapi_extra={"requestBody": IMAGE_BODY},
    tags=["masks"],
    # Checked before the query, about which a client without a key learns nothing.
    dependencies=[NEEDS_KEY, Depends(_check_number)],
)
async def segment(
    request: Request, query: Annotated[SegmentQuery, Query()], service: CurrentService
) -> Response:
    """Return the masks or the label map of an image."""
    check_once(request.query_params.multi_items())
    # All that can be refused without the body is refused before it is received.
    engine = service.default if _may_name_model(request, query, service) else _checked(query, service)
    engine.check_room()
    with service.bodies.reserve() as body:
        upload = await _receive(request, service, body)
        if upload.parameters:
            query = _with_form(request, upload)
        engine = service.engine(query.model)
        options = parse_options(query, engine.manifest.task, engine.manifest.categories)
        asked = EngineRequest(
            id=request.state.request_id,
            image=upload.image,
            options=options,
            format=query.format,
            image_id=query.image_id,
            deadline_seconds=_deadline_seconds(query, service),
        )
        answer = await unless_gone(request, engine.answer(asked))
    request.state.stages_ms = {stage: round(1000 * value, 2) for stage, value in answer.seconds.items()}
    request.state.instances = len(asked.result.parts)
    timing = ", ".join(f"{stage};dur={1000 * value:.2f}" for stage, value in answer.seconds.items())
    return Response(answer.body, media_type=answer.media_type, headers={"server-timing": timing})


def _with_form(request: Request, upload: Upload) -> SegmentQuery:
    """Return the parameters of the query and of the form. Raises Problem, ParameterError if one is not allowed."""
    try:
        return with_form(request.query_params, upload.parameters)
    except ValidationError as error:
        raise problems.from_parameters(explain(error.errors())) from error


def _may_name_model(request: Request, query: SegmentQuery, service: Service) -> bool:
    """Return whether the model is known only with the body: a form, which may name one of several."""
    return query.model is None and len(service.engines) > 1 and content_type_of(request) == FORM


def _checked(query: SegmentQuery, service: Service) -> Engine:
    """Return the engine that is asked. Raises Problem, ParameterError, Starting if it cannot do what is asked."""
    engine = service.engine(query.model)
    parse_options(query, engine.manifest.task, engine.manifest.categories)
    return engine


async def _receive(request: Request, service: Service, body: Body) -> Upload:
    limits = service.settings
    try:
        return await read_upload(request, limits.max_body_bytes, limits.body_seconds, body)
    except ClientDisconnect:
        service.metrics.requests.left("body")
        raise


def _deadline_seconds(query: SegmentQuery, service: Service) -> float | None:
    chosen = service.settings.deadline_ms if query.deadline_ms is None else query.deadline_ms
    return None if chosen is None else chosen / 1000
