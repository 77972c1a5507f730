"""The outermost layer but CORS: every answer, errors too, gets its request id, is measured and logged.

Not so the preflights of web pages, if they are allowed: those end before it (service/app.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import Problem
from service.observe.metrics import Metrics

REQUEST_ID = "x-request-id"
_ACCEPTED = re.compile(r"[!-~]([ -~]{0,126}[!-~])?")  # printable ASCII, no space at the ends
DISCARD_BYTES, DISCARD_SECONDS = 100_000_000, 5.0
# JSON, text and pictures load nothing and are framed by nobody; a page that needs more brings a policy of its own.
_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),  # frame-ancestors, for browsers that do not know it
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
)
CLIENT_GONE = 499  # nobody reads it; the metrics count it
ACCESS = "pointrend.access"
_log, _access = logging.getLogger(__name__), logging.getLogger(ACCESS)


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
        self._metrics.in_flight.inc()
        status = 0
        body = _Body(scope, receive)

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    await body.discard()
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _HEADERS:
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, body.receive, stamped)
        except Exception:
            _log.exception("request %s failed", request_id)
            if status:  # half an answer is out: only closing the connection can tell
                raise
            self._metrics.rejected("internal-error")
            problem = Problem("internal-error", f"an unexpected error; its request id is {request_id}")
            await problem.response(Request(scope))(scope, body.receive, stamped)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # no label for each mistyped address
            seconds = time.perf_counter() - begin
            self._metrics.in_flight.dec()
            self._metrics.request(route, status, seconds)
            if _access.isEnabledFor(logging.INFO):
                _access.info(_line(scope, request_id, status, seconds))


class _Body:
    """What the client sends. An answer that comes before its end closes the connection, and a client that is
    still sending would see a reset instead of the answer: so a refused body is read, within limits, and dropped.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._complete = (
            Headers(scope=scope).get("expect", "").lower() == "100-continue"
        )  # it has sent nothing yet

    async def receive(self) -> Message:
        message = await self._receive()
        self._complete = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self._complete and size < DISCARD_BYTES:
                    size += len((await self.receive()).get("body", b""))


def _line(scope: Scope, request_id: str, status: int, seconds: float) -> str:
    """A request as JSON, without the query's values (boxes may be long) and without keys."""
    client = scope.get("client")
    return json.dumps(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": request_id,
            "client": client[0] if client else None,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
        }
        | {
            name: scope["state"][name]
            for name in ("stages_ms", "instances", "problem")
            if name in scope["state"]
        }
    )


def request_id_of(headers: Headers) -> str:
    """The client's, if it is printable and at most 128 characters; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
