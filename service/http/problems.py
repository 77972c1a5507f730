"""Everything that can go wrong over HTTP, as application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import ParameterError, TryLater, retry_after
from service.http.query.echo import cut

MEDIA_TYPE = "application/problem+json"
MAX_FINDINGS = 10  # parameters that one answer explains
MAX_DETAIL = 500  # characters of an explanation, which is mostly ours

# kind → status and title; the type is /problems/<kind> and stays the same for ever.
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
        "too-much-memory": (413, "The image takes too much memory to decode"),
        "too-costly": (413, "The request takes too long"),
        "unsupported-content-type": (415, "The content type is not supported"),
        "unsupported-format": (415, "The image format is not supported"),
        "invalid-parameter": (422, "A parameter is not allowed"),
        "bodies-full": (429, "The memory for request bodies is full"),
        "queue-full": (429, "The queue is full"),
        "internal-error": (500, "The service failed"),
        "starting": (503, "The service is starting"),
        "unhealthy": (503, "The service is not healthy"),
        "no-decoder": (503, "No process is free to decode the image"),
        "out-of-memory": (503, "There is too little memory"),
        "connections-full": (503, "There are too many connections"),
        "stopped": (503, "The model's worker has stopped"),
        "deadline": (504, "Nothing was ready by the deadline"),
    }
)
_BY_STATUS = MappingProxyType({404: "not-found", 405: "method-not-allowed"})


class Problem(Exception):
    """A refusal that says what is wrong and what is allowed; `kind` is a key of KINDS."""

    def __init__(
        self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members
        self.status, self.title = KINDS[kind]

    def content(self, request_id: str) -> dict[str, Any]:
        """Return the members of the problem that a request of this id is answered with."""
        return {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        } | self.members

    def response(self, request: Request) -> Response:
        """Return the problem as the answer to a request."""
        content = self.content(request.state.request_id)
        return JSONResponse(content, self.status, self.headers, MEDIA_TYPE)


def from_parameters(errors: Sequence[ParameterError]) -> Problem:
    """Return one problem for the parameters that are not allowed, the first MAX_FINDINGS of them."""
    findings = [
        {"parameter": cut(error.parameter), "detail": cut(error.detail, MAX_DETAIL)}
        for error in errors[:MAX_FINDINGS]
    ]
    lines = [f"{finding['parameter']}: {finding['detail']}" for finding in findings]
    if more := len(errors) - len(findings):
        lines.append(f"and {more} more")
    return Problem("invalid-parameter", "; ".join(lines), errors=findings)


def from_refusal(error: TryLater) -> Problem:
    """Return the problem for a request that may be taken later, with the time to wait."""
    return Problem(error.kind, str(error), headers={"Retry-After": str(retry_after(error))})


def from_status(status: int, detail: str, headers: Mapping[str, str] | None) -> Problem:
    """Return the problem for an error that the web framework found."""
    kind = _BY_STATUS.get(status, "bad-request" if status < 500 else "internal-error")
    return Problem(kind, detail, headers=headers)
