"""POST /hf/image-segmentation: what clients of Hugging Face's inference API send and get for this task.

`huggingface_hub.InferenceClient(model="http://…/hf/image-segmentation").image_segmentation(…)` works as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import ParameterError
from service.http import stream
from service.http.body.form import Upload
from service.http.body.json_reader import read_json, text_parameters
from service.http.body.upload import JSON, content_type_of, joined
from service.http.openapi import SEGMENT_PROBLEMS
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery, check_once
from service.http.routes.segment import checked_engine, engine_request, receive, with_body
from service.http.schemas.tools import PipelineMask
from service.http.service import FEW_PARAMETERS, NEEDS_KEY, CurrentService

FORMAT = "hugging_face"
MASK_THRESHOLD = 0.5
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "additionalProperties": False,
                "properties": {
                    "inputs": {
                        "type": "string",
                        "format": "byte",
                        "description": "The image's file in base64.",
                    },
                    "parameters": {
                        "type": "object",
                        "description": "`threshold` (the least score), `subtask` (the model's task), `mask_threshold` "
                        "(0.5 alone), and all parameters of POST /segment but `format`.",
                    },
                },
            },
        },
        "*/*": {"schema": {"type": "string", "format": "binary"}},
    },
}

router = APIRouter()


@router.post(
    "/hf/image-segmentation",
    response_model=list[PipelineMask],
    responses=SEGMENT_PROBLEMS,
    openapi_extra={"requestBody": _BODY},
    tags=["masks"],
    dependencies=[NEEDS_KEY, FEW_PARAMETERS],
)
async def hf_image_segmentation(
    request: Request, query: Annotated[SegmentQuery, Query()], service: CurrentService
) -> Response:
    """Return masks as Hugging Face's task image-segmentation does, for its clients.

    The body is the image's file, or JSON with it in base64. A semantic model has an entry for each class.
    """
    check_once(request.query_params.multi_items())
    checked_engine(request, _in_format(query), service).check_room()
    with service.bodies.reserve() as body:
        upload = await receive(request, service, body, _read)
        task = upload.parameters.get("subtask")
        chosen = {name: value for name, value in upload.parameters.items() if name != "subtask"}
        query = _in_format(with_body(request, chosen) if chosen else query)
        engine = service.engine(query.model)
        _check_subtask(task, engine.manifest.task)
        options = parse_options(query, engine.manifest.task, engine.manifest.categories)
        asked = engine_request(request, service, query, upload.image, options)
        answer = await stream.answered(request, engine, asked)
    return Response(answer.body, media_type=answer.media_type)


async def _read(request: Request, chunks: AsyncIterator[bytes]) -> Upload:
    """Read a file, or JSON. Anything but JSON is taken for a file, because clients do not say its type."""
    if content_type_of(request) != JSON:
        return Upload(await joined(chunks))
    read = await read_json(chunks, "inputs")
    for name in read.parameters:
        if name != "parameters":
            raise ParameterError(name, "there is no such member; allowed: inputs, parameters")
    return Upload(read.image, _parameters(read.parameters.get("parameters")))


def _parameters(given: Any) -> dict[str, Any]:
    """Return the parameters by our names. Raise ParameterError for those of which there is only one value here."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ParameterError("parameters", "must be an object")
    found = text_parameters(given)
    if found.pop("mask_threshold", MASK_THRESHOLD) != MASK_THRESHOLD:
        raise ParameterError("mask_threshold", f"is {MASK_THRESHOLD}, and no other is possible")
    if "overlap_mask_area_threshold" in found:
        raise ParameterError("overlap_mask_area_threshold", "is for panoptic models; leave it out")
    if "threshold" in found:
        if "score" in found:
            raise ParameterError("threshold", "is the same as score; send one")
        found["score"] = found.pop("threshold")
    return found


def _in_format(query: SegmentQuery) -> SegmentQuery:
    """Return the query for the only format there is here. Raise ParameterError if it names another one."""
    if "format" in query.model_fields_set and query.format != FORMAT:
        raise ParameterError("format", f"is always {FORMAT} here; POST /segment has the others")
    if query.keep:
        raise ParameterError("keep", "is for POST /segment, whose answer has a place for the picture's id")
    if query.kept is not None:
        raise ParameterError("kept", "is for POST /segment")
    return query.model_copy(update={"format": FORMAT})


def _check_subtask(asked: Any, task: str) -> None:
    if asked is not None and asked != task:  # both have the same names
        raise ParameterError("subtask", f"of this model is {task}, got {str(asked)[:80]!r}")
