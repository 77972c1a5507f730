"""The outermost layer: every answer, errors too, gets its request id and is measured."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.problems import Problem

REQUEST_ID = "x-request-id"
_ACCEPTED = re.compile(r"[!-~]([ -~]{0,126}[!-~])?")  # printable ASCII, no space at the ends
_log = logging.getLogger(__name__)


class Edge:
    """ASGI middleware. What nothing else caught becomes a 500 that leaks nothing."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        begin = time.perf_counter()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except Exception:
            _log.exception("request %s failed", request_id)
            if status:  # half an answer is out: only closing the connection can tell
                raise
            self._metrics.rejected("internal-error")
            problem = Problem("internal-error", f"an unexpected error; its request id is {request_id}")
            await problem.response(Request(scope))(scope, receive, stamped)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # no label for each mistyped address
            self._metrics.request(route, status, time.perf_counter() - begin)


def request_id_of(headers: Headers) -> str:
    """The client's, if it is printable and at most 128 characters; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
