"""Everything that can go wrong over HTTP, as application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import ParameterError, TryLater, retry_after
from service.http.problem_kinds import KINDS
from service.http.query.echo import cut

MEDIA_TYPE = "application/problem+json"
OPEN_INFERENCE = "/v2"  # the path below which errors have the form of the Open Inference Protocol
MAX_FINDINGS = 10  # parameters that one answer explains
MAX_DETAIL = 500  # characters of an explanation, which is mostly ours

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
        self.status, self.title = KINDS[kind].status, KINDS[kind].title

    def content(self, request_id: str, root_path: str = "") -> dict[str, Any]:
        """Return the members of the problem that a request of this id is answered with.

        `root_path` is the path below which clients reach the service.
        """
        return {
            "type": f"{root_path}/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        } | self.members

    def response(self, request: Request) -> Response:
        """Return the problem as the answer to a request."""
        root = request.scope.get("root_path", "")
        if f"{request.scope['path'].removeprefix(root)}/".startswith(f"{OPEN_INFERENCE}/"):
            return JSONResponse({"error": self.detail}, self.status, self.headers)
        content = self.content(request.state.request_id, root)
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


def example(kind: str) -> dict[str, Any]:
    """Return what a problem of this kind may look like."""
    return Problem(kind, "what was wrong with this request, and what is allowed").content("4f6c1e9b")
