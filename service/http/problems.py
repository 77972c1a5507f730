"""Everything that can go wrong over HTTP, as application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.responses import Response

from model.predict.images import ImageError
from service.engine.admission import QueueFull
from service.http.parameters import ParameterError

MEDIA_TYPE = "application/problem+json"

# kind → status and title; the type is /problems/<kind> and stays.
KINDS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "bad-request": (400, "The request cannot be read"),
        "empty-body": (400, "The body is empty"),
        "not-an-image": (400, "The body is not an image"),
        "corrupt-image": (400, "The image is truncated or damaged"),
        "slow-image": (400, "The image takes too long to decode"),
        "malformed-multipart": (400, "The multipart body is malformed"),
        "missing-image": (400, "The form has no image"),
        "unauthorized": (401, "A valid API key is needed"),
        "not-found": (404, "There is no such page"),
        "method-not-allowed": (405, "The method is not allowed here"),
        "slow-body": (408, "The body takes too long"),
        "too-many-bytes": (413, "The body is too large"),
        "too-many-pixels": (413, "The image has too many pixels"),
        "unsupported-content-type": (415, "The content type is not supported"),
        "unsupported-format": (415, "The image format is not supported"),
        "invalid-parameter": (422, "A parameter is not allowed"),
        "queue-full": (429, "The queue is full"),
        "internal-error": (500, "The service failed"),
        "starting": (503, "The service is starting"),
        "unhealthy": (503, "The service is not healthy"),
        "no-decoder": (503, "No thread is free to decode the image"),
        "stopped": (503, "The model's worker has stopped"),
        "deadline": (504, "Nothing was ready by the deadline"),
    }
)
_BY_STATUS = MappingProxyType({404: "not-found", 405: "method-not-allowed"})


class Problem(Exception):
    """An answer that says what is wrong; `kind` is a key of KINDS."""

    def __init__(
        self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members
        self.status, self.title = KINDS[kind]

    def response(self, request: Request) -> Response:
        content = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request.state.request_id,
        } | self.members
        return JSONResponse(content, self.status, self.headers, MEDIA_TYPE)


def of_image(error: ImageError) -> Problem:
    return Problem(error.kind, str(error))


def of_parameters(errors: Sequence[ParameterError]) -> Problem:
    findings = [{"parameter": error.parameter, "detail": error.detail} for error in errors]
    return Problem("invalid-parameter", "; ".join(map(str, errors)), errors=findings)


def of_queue(error: QueueFull) -> Problem:
    return Problem("queue-full", str(error), headers={"Retry-After": str(error.retry_after)})


def of_status(status: int, detail: str, headers: Mapping[str, str] | None) -> Problem:
    """Of an error that the framework found."""
    kind = _BY_STATUS.get(status, "bad-request" if status < 500 else "internal-error")
    return Problem(kind, detail, headers=headers)
