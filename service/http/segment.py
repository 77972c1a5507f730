"""POST /segment: an image in, its masks or its label map out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.engine.request import Request as EngineRequest
from service.http.body.form import Upload
from service.http.body.limits import Body
from service.http.body.upload import read_upload, unless_gone
from service.http.openapi import IMAGE_BODY, SEGMENT_RESPONSES
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery, check_number, check_once
from service.http.service import NEEDS_KEY, CurrentService, Service

router = APIRouter()


async def _check_number(request: Request) -> None:
    check_number(request.scope["query_string"])


@router.post(
    "/segment",
    responses=SEGMENT_RESPONSES,
    openapi_extra={"requestBody": IMAGE_BODY},
    tags=["masks"],
    # Checked before the query, about which a client without a key learns nothing.
    dependencies=[NEEDS_KEY, Depends(_check_number)],
)
async def segment(
    request: Request, query: Annotated[SegmentQuery, Query()], service: CurrentService
) -> Response:
    """Return crisp masks of what is in an image, or its label map.

    Boxes and masks are in pixels of the image as displayed.
    """
    check_once(request.query_params.multi_items())
    engine = service.engine(query.model)
    task, categories = engine.manifest.task, engine.manifest.categories
    # All that can be refused without the body is refused before it is received.
    options = parse_options(query, task, categories)
    engine.check_room()
    with service.bodies.reserve() as body:
        upload = await _receive(request, service, body)
        if upload.boxes is not None:
            options = parse_options(query, task, categories, upload.boxes)
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
