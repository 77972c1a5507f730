"""ASGI middleware around Ray's HTTP proxy: lost requests are sent again, and Ray's own errors are problems like ours.

    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=service.ray_proxy:middlewares ray start …

If a replica dies with a request inside, Ray's proxy ends without an answer, and its server sends a bare 500. Requests
only read, so this middleware sends them to another replica, as long as it still has their body. The variable must be
set on every node, because every node has a proxy. Neither Ray nor torch is imported.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import REQUEST_ID, request_id_of
from service.http.problems import MEDIA_TYPE, Problem

HELD_BYTES = 256 * 2**20  # of all bodies that one proxy keeps to send them again
# Seconds before each further attempt: Ray may need a moment to see that a host is gone.
PAUSES = (0.1, 0.5, 2.0)
RETRY_AFTER = "2"  # seconds; Ray starts another replica in about as many
OWN_PAGES = "/-/"  # Ray's own: health and routes of the proxy
OWN_STATUSES = frozenset((404, 408, 500, 503))  # of what Ray answers itself, in plain text
# Of the service's own errors: problems, and errors of the Open Inference Protocol.
SERVICE_TYPES = (MEDIA_TYPE, "application/json")


def middlewares() -> list[Middleware]:
    """Return what Ray puts around its proxy."""
    return [Middleware(RepeatLostRequests)]


@dataclass
class HeldBytes:
    """The bytes of all bodies that are kept, and how many there may be."""

    limit: int = HELD_BYTES
    used: int = 0


class RepeatLostRequests:
    """The middleware, see the module. A request whose body is not kept is answered 503 if its replica dies."""

    def __init__(
        self, app: ASGIApp, held: HeldBytes | None = None, pauses: tuple[float, ...] = PAUSES
    ) -> None:
        self._app = app
        self._held = held or HeldBytes()
        self._pauses = pauses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OWN_PAGES):
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        body = _Body(receive, self._held)
        answer = _Answer(send)
        try:
            for pause in (*self._pauses, None):
                await self._app(_with_id(scope, request_id), body.receive, answer.send)
                if answer.sent or body.client_gone:
                    return
                if pause is None or not body.complete or not answer.worth_another_attempt:
                    break
                await asyncio.sleep(pause)
                body.rewind()
                answer = _Answer(send)
            scope.setdefault("state", {})["request_id"] = request_id
            response = answer.problem(body.complete).response(Request(scope))
            response.headers[REQUEST_ID] = request_id
            await response(scope, receive, send)
        finally:
            body.release()


def _with_id(scope: Scope, request_id: str) -> Scope:
    """Return a copy of the scope, because Ray changes it, with the request's id among its headers."""
    copy = dict(scope, headers=list(scope["headers"]))
    MutableHeaders(scope=copy)[REQUEST_ID] = request_id
    return copy


@dataclass
class _Body:
    """The messages of a request, which can be received again from the first as long as all are kept."""

    source: Receive
    held: HeldBytes
    complete: bool = True  # whether all that was received is kept
    client_gone: bool = False
    _kept: list[Message] = field(default_factory=list)
    _next: int = 0
    _bytes: int = 0

    async def receive(self) -> Message:
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]
        message = await self.source()
        if message["type"] == "http.disconnect":
            self.client_gone = True
        elif self.complete:
            self._keep(message)
        return message

    def rewind(self) -> None:
        """Let the next attempt receive from the first message."""
        self._next = 0

    def release(self) -> None:
        """Keep no message any more."""
        self.held.used -= self._bytes
        self._kept, self._bytes, self.complete = [], 0, False

    def _keep(self, message: Message) -> None:
        size = len(message.get("body", b""))
        if self.held.used + size > self.held.limit:
            self.release()
            return
        self.held.used += size
        self._bytes += size
        self._kept.append(message)
        self._next = len(self._kept)


class _Answer:
    """The answer to one attempt. A replica's is sent on, and Ray's own is kept back."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._ray_status: int | None = None
        self.sent = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if message["status"] in OWN_STATUSES and headers.get("content-type") not in SERVICE_TYPES:
                self._ray_status = message["status"]
            # Ray adds the id that the service has already given back.
            elif (request_id := headers.get(REQUEST_ID)) is not None:
                headers[REQUEST_ID] = request_id
        if self._ray_status is None:
            self.sent = True
            await self._send(message)

    @property
    def worth_another_attempt(self) -> bool:
        """Whether the replica was lost, or none was there: not if Ray has waited for one as long as it may."""
        return self._ray_status in (None, 500, 503)

    def problem(self, repeatable: bool) -> Problem:
        """Return the problem that says what Ray's answer, or that there is none, means."""
        if self._ray_status == 408:
            return Problem("no-replica", "no replica answered in time", headers={"Retry-After": RETRY_AFTER})
        if self._ray_status is not None:
            detail = "no replica runs at the moment"
        elif repeatable:
            detail = "the replicas that had this request inside ended"
        else:
            detail = "the replica that had this request inside ended, and its body is no longer there to be sent again"
        return Problem("no-replica", f"{detail}; try again later", headers={"Retry-After": RETRY_AFTER})
