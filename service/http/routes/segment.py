"""POST /segment: an image in, its masks or its label map out; or boxes of a kept picture, and their masks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.engine.engine import Engine
from service.engine.errors import ParameterError
from service.engine.kept import Keep
from service.engine.request import Request as EngineRequest
from service.http import problems, stream
from service.http.body.form import Upload
from service.http.body.limits import Body
from service.http.body.upload import WITH_PARAMETERS, Reader, content_type_of, read_body, read_upload
from service.http.headers import KEPT_ID
from service.http.openapi import IMAGE_BODY, SEGMENT_DESCRIPTION, SEGMENT_RESPONSES
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery, check_once, explain, with_form
from service.http.service import FEW_PARAMETERS, NEEDS_KEY, CurrentService, Service
from service.output.formats import FORMATS

router = APIRouter()


@router.post(
    "/segment",
    description=SEGMENT_DESCRIPTION,
    responses=SEGMENT_RESPONSES,
    openapi_extra={"requestBody": IMAGE_BODY},
    tags=["masks"],
    # Checked before the query, about which a client without a key learns nothing.
    dependencies=[NEEDS_KEY, FEW_PARAMETERS],
)
async def segment(
    request: Request, query: Annotated[SegmentQuery, Query()], service: CurrentService
) -> Response:
    """Return the masks or the label map of an image."""
    check_once(request.query_params.multi_items())
    if query.kept is not None:
        return await _segment_kept(request, query, service, query.kept)
    # All that can be refused without the body is refused before it is received.
    engine = checked_engine(request, query, service)
    if streams := stream.is_asked(request.headers):
        stream.check_format(query.format)
    engine.check_room()
    with ExitStack() as held:
        upload = await receive(request, service, held.enter_context(service.bodies.reserve()))
        if upload.parameters:
            query = with_body(request, upload.parameters)
            if streams:
                stream.check_format(query.format)
        engine = service.engine(query.model)
        options = parse_options(query, engine.manifest.task, engine.manifest.categories)
        asked = engine_request(request, service, query, upload.image, options)
        asked.keep = keep_of(request, query, engine)
        return await _answered(request, service, engine, asked, held)


async def _segment_kept(request: Request, query: SegmentQuery, service: Service, kept: str) -> Response:
    """Return the masks of boxes of a kept picture."""
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        raise ParameterError("kept", "a kept picture is instead of an image: send no body")
    if stream.is_asked(request.headers):
        stream.check_format(query.format)
    with ExitStack() as held:
        entry = held.enter_context(service.resources.kept.using(kept, request.state.owner))
        if query.model not in (None, entry.model):
            raise ParameterError("model", f"the picture is kept for {entry.model!r}: leave this out")
        engine = service.engine(entry.model)
        engine.check_kept_boxes()
        options = parse_options(query, engine.manifest.task, engine.manifest.categories)
        if query.boxes is None:
            raise ParameterError("boxes", "are needed with `kept`: what was detected is in the first answer")
        if FORMATS[query.format].needs_pixels:
            raise ParameterError(
                "format", f"{query.format!r} shows the picture's pixels, which are not kept: send the picture"
            )
        asked = engine_request(request, service, query, b"", options)
        asked.picture, asked.georeference = entry.picture, entry.georeference
        asked.keep = keep_of(request, query, engine)
        return await _answered(request, service, engine, asked, held)


async def _answered(
    request: Request, service: Service, engine: Engine, asked: EngineRequest, held: ExitStack
) -> Response:
    """Return the answer of an engine, as a stream if that is what the client wants. `held` is closed with it."""
    if stream.is_asked(request.headers):
        return await stream.streamed(request, service.metrics.requests, engine, asked, held.pop_all())
    answer = await stream.answered(request, engine, asked)
    headers = stream.timing_header(answer) | ({} if asked.kept is None else {KEPT_ID: asked.kept})
    return Response(answer.body, media_type=answer.media_type, headers=headers)


def keep_of(request: Request, query: SegmentQuery, engine: Engine) -> Keep | None:
    """Return for whom and how long the picture shall be kept. Raises ParameterError if it cannot be."""
    if not query.keep:
        return None
    engine.check_keep(query.keep)
    return Keep(request.state.owner, query.keep)


def engine_request(
    request: Request, service: Service, query: SegmentQuery, image: bytes, options: Any
) -> EngineRequest:
    """Return what the engine is asked. `options` are those of the chosen model's task."""
    return EngineRequest(
        id=request.state.request_id,
        image=image,
        options=options,
        format=query.format,
        image_id=query.image_id,
        instance=query.instance,
        crop=query.crop,
        deadline_seconds=service.deadline_seconds(query.deadline_ms),
    )


def with_body(request: Request, parameters: Mapping[str, Any]) -> SegmentQuery:
    """Return the parameters of the query and of the body. Raises Problem, ParameterError if one is not allowed."""
    try:
        return with_form(request.query_params, parameters)
    except ValidationError as error:
        raise problems.from_parameters(explain(error.errors())) from error


def _may_name_model(request: Request, query: SegmentQuery, service: Service) -> bool:
    """Return whether the model is known only with the body: a form or JSON, which may name one of several."""
    return query.model is None and len(service.engines) > 1 and content_type_of(request) in WITH_PARAMETERS


def checked_engine(request: Request, query: SegmentQuery, service: Service) -> Engine:
    """Return the engine that is asked, or the default where only the body says which.

    Raises Problem, ParameterError, Starting if it cannot do what is asked.
    """
    if _may_name_model(request, query, service):
        return service.default
    engine = service.engine(query.model)
    parse_options(query, engine.manifest.task, engine.manifest.categories)
    keep_of(request, query, engine)
    return engine


async def receive(request: Request, service: Service, body: Body, reader: Reader = read_body) -> Upload:
    """Return the body of a request within the service's limits. Raises what `read_upload` does."""
    limits = service.settings
    try:
        return await read_upload(request, limits.max_body_bytes, limits.body_seconds, body, reader)
    except ClientDisconnect:
        service.metrics.requests.left("body")
        raise
