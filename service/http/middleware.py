"""The layer around the app: it gives every answer, errors too, a request id and safe headers, and records each request.

Only CORS is outside of it. So the preflights of web pages, where they are allowed, never come here (service/app.py).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import Problem
from service.observe import access_log
from service.observe.metrics import Metrics

REQUEST_ID = "x-request-id"
CLIENT_GONE = 499  # the status in metrics and log of a request whose client left before its answer
CANCELLED = "cancelled"  # recorded instead of a status if the server gave up on the request while it ended
DISCARD_BYTES, DISCARD_SECONDS = 100_000_000, 5.0
_ACCEPTED = re.compile(r"[!-~]([ -~]{0,126}[!-~])?")  # printable ASCII, no space at the ends
# JSON, text and pictures load nothing and need no frame. A page that needs more brings a policy of its own.
_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),  # says what frame-ancestors says, to browsers that do not know it
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
)
_log = logging.getLogger(__name__)


class RequestRecorder:
    """ASGI middleware, see the module. An exception that nothing else caught becomes a 500 that reveals nothing."""

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
        body, answer = _Body(scope, receive), _Answer(send, request_id)

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await body.discard()
            await answer.send(message)

        self._metrics.requests.begun()
        try:
            await self._app(scope, body.receive, stamped)
        except asyncio.CancelledError:
            if not answer.complete:
                answer.status = CANCELLED
                self._metrics.requests.lost += 1
            raise
        except Exception:  # every failure becomes an answer that tells nothing of the inside
            _log.exception("request %s failed", request_id)
            if answer.status:
                raise  # a part of the answer has been sent, so only closing the connection shows the failure
            self._metrics.requests.rejected("internal-error")
            problem = Problem("internal-error", f"an unexpected error; its request id is {request_id}")
            await problem.response(Request(scope))(scope, body.receive, stamped)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # no label for each mistyped address
            seconds = time.perf_counter() - begin
            self._metrics.requests.ended(route, str(answer.status), seconds)
            access_log.write(scope, answer.status, seconds)


class _Answer:
    """The answer to one request on its way to the server, with the headers that every answer has."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.complete = False
        self.status: int | str = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._request_id
            for name, value in _HEADERS:
                headers.setdefault(name, value)
        await self._send(message)
        if message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)


class _Body:
    """What the client sends.

    An answer that is sent before the end of the body closes the connection, and a client that is still sending would
    see a reset instead of the answer. So a refused body is read, within limits, and dropped.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        # A client that waits for permission to send its body has sent nothing yet.
        self._complete = Headers(scope=scope).get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        message = await self._receive()
        self._complete = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read the rest of the body, but not for longer than DISCARD_SECONDS nor more than DISCARD_BYTES."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self._complete and size < DISCARD_BYTES:
                    size += len((await self.receive()).get("body", b""))


def request_id_of(headers: Headers) -> str:
    """Return the client's request id if it is printable and at most 128 characters long, else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
