"""The Open Inference Protocol at /v2, for clients of KServe, Triton and others that speak it.

`tritonclient.http.InferenceServerClient` works as it is. An inference is a POST /segment in other words.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import ParameterError
from service.http import stream
from service.http.headers import JSON_LENGTH, KEPT_ID
from service.http.inference.answer import inference_answer, tensor_shapes
from service.http.inference.asked import parse_inference
from service.http.inference.body import INPUT, read_inference
from service.http.inference.described import INFERENCE_BODY, INFERENCE_RESPONSES, error_responses
from service.http.problems import Problem
from service.http.query.options import parse_options
from service.http.query.parameters import check_once
from service.http.routes.operation import healthz, readyz
from service.http.routes.segment import engine_request, keep_of, receive, with_body
from service.http.schemas.inference import (
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.http.service import FEW_PARAMETERS, NEEDS_KEY, CurrentService

PLATFORM = "pointrend_onnx"
router = APIRouter(prefix="/v2", tags=["open inference protocol"])


@router.get("")
async def v2_server(request: Request) -> ServerMetadata:
    """Return what the server is, and which extensions of the protocol it knows."""
    return ServerMetadata(
        name="pointrend-served", version=request.app.version, extensions=["binary_tensor_data"]
    )


@router.get("/health/live", responses=error_responses("unhealthy"))
async def v2_live(service: CurrentService) -> ServerLive:
    """Tell what GET /healthz tells."""
    await healthz(service)
    return ServerLive(live=True)


@router.get("/health/ready", responses=error_responses("starting", "unhealthy"))
async def v2_ready(service: CurrentService) -> ServerReady:
    """Tell what GET /readyz tells."""
    await readyz(service)
    return ServerReady(ready=True)


@router.get(
    "/models/{name}", responses=error_responses("unauthorized", "not-found"), dependencies=[NEEDS_KEY]
)
async def v2_model(name: str, service: CurrentService) -> ModelMetadata:
    """Return the inputs and outputs of a model."""
    task = service.loaded(name).manifest.task
    image: Any = {"name": INPUT, "datatype": "BYTES", "shape": [1]}
    outputs: Any = tensor_shapes(task)
    return ModelMetadata(name=name, platform=PLATFORM, inputs=[image], outputs=outputs)


@router.get(
    "/models/{name}/ready",
    responses=error_responses("unauthorized", "not-found", "starting", "unhealthy"),
    dependencies=[NEEDS_KEY],
)
async def v2_model_ready(name: str, service: CurrentService) -> ModelReady:
    """Tell whether a model is ready."""
    service.loaded(name)
    if not service.engine(name).alive:
        raise Problem("unhealthy", f"the worker of {name!r} is not running, or stuck")
    return ModelReady(name=name, ready=True)


@router.post(
    "/models/{name}/infer",
    responses=INFERENCE_RESPONSES,
    openapi_extra={"requestBody": INFERENCE_BODY},
    dependencies=[NEEDS_KEY, FEW_PARAMETERS],
)
async def v2_infer(name: str, request: Request, service: CurrentService) -> Response:
    """Return the masks of an image as tensors.

    The input `image` is the image's file; `parameters` are those of POST /segment. Outputs are the answer of POST
    /segment, in the chosen format, and boxes, scores and classes of instances.
    """
    check_once(request.query_params.multi_items())
    service.loaded(name)
    engine = service.engine(name)
    engine.check_room()
    manifest = engine.manifest
    with service.bodies.reserve() as body:
        upload = await receive(request, service, body, read_inference)
        inference = parse_inference(upload.parameters, manifest.task)
        query = with_body(request, inference.parameters)
        if query.model is not None:
            raise ParameterError("model", "is in the path here; leave it out")
        if query.kept is not None:
            raise ParameterError("kept", "is a parameter of POST /segment alone; send the image")
        options = parse_options(query, manifest.task, manifest.categories)
        asked = engine_request(request, service, query, upload.image, options)
        asked.keep = keep_of(request, query, engine)
        answer = await stream.answered(request, engine, asked)
    found = await service.resources.workers.in_pool(
        lambda _: inference_answer(inference, name, manifest.task, manifest.categories, asked.result, answer)
    )
    headers = stream.timing_header(answer) | ({} if asked.kept is None else {KEPT_ID: asked.kept})
    if found.json_length is not None:
        headers[JSON_LENGTH] = str(found.json_length)
    return Response(found.body, media_type=found.media_type, headers=headers)
