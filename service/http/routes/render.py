"""POST /render: a window of a mask of a kept picture, at any resolution, without the network."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from service.engine.request import Request as EngineRequest
from service.http import stream
from service.http.openapi import RENDER_DESCRIPTION, RENDER_RESPONSES
from service.http.query.parameters import check_once
from service.http.query.window import RenderQuery
from service.http.service import FEW_PARAMETERS, NEEDS_KEY, CurrentService

router = APIRouter()


@router.post(
    "/render",
    description=RENDER_DESCRIPTION,
    responses=RENDER_RESPONSES,
    tags=["masks"],
    dependencies=[NEEDS_KEY, FEW_PARAMETERS],
)
async def render(
    request: Request, query: Annotated[RenderQuery, Query()], service: CurrentService
) -> Response:
    """Return a window of one mask. A body is neither needed nor read."""
    check_once(request.query_params.multi_items())
    with service.resources.kept.using(query.id, request.state.owner) as entry:
        engine = service.engine(entry.model)
        asked = EngineRequest(
            id=request.state.request_id,
            image=b"",
            picture=entry.picture,
            window=True,
            options=query.options,
            format=query.format,
            deadline_seconds=service.deadline_seconds(query.deadline_ms),
        )
        answer = await stream.answered(request, engine, asked)
    return Response(answer.body, media_type=answer.media_type, headers=stream.timing_header(answer))
