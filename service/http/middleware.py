"""The layer around the app: it gives every answer, errors too, a request id and safe headers, and records each request.

Only CORS is outside of it. So the preflights of web pages, where they are allowed, never come here (service/app.py).
"""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.errors import OutOfMemory
from service.http import problems
from service.http.headers import REQUEST_ID, SAFE_HEADERS, request_id_of
from service.http.health import OwnFailures
from service.http.problems import Problem
from service.observe import access_log
from service.observe.metrics import Metrics

CLIENT_GONE = 499  # the status in metrics and log of a request whose client left before its answer
CANCELLED = "cancelled"  # recorded instead of a status if the server gave up on the request while it ended
OUTCOME = "outcome"  # of a request's state: the status that counts, if another one was sent before
# The routes whose failures make the service unready.
WATCHED = ("/segment", "/hf/image-segmentation", "/v2/models/{name}/infer", "/label-studio/predict")
_log = logging.getLogger(__name__)


class RequestRecorder:
    """ASGI middleware, see the module. An exception that nothing else caught becomes a 500 that reveals nothing."""

    def __init__(self, app: ASGIApp, metrics: Metrics, failures: OwnFailures) -> None:
        self._app = app
        self._metrics = metrics
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        begin = time.perf_counter()
        answer = _Answer(send, request_id)
        self._metrics.requests.begun()
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            if not answer.complete:
                answer.status = CANCELLED
                self._metrics.requests.lost += 1
            raise
        except Exception as error:  # every failure becomes an answer that tells nothing of the inside
            _log.exception("request %s failed", request_id)
            if answer.status:
                raise  # a part of the answer has been sent, so only closing the connection shows the failure
            problem = (
                problems.from_refusal(OutOfMemory("there is too little memory; try again later"))
                if isinstance(error, MemoryError)
                else Problem("internal-error", f"an unexpected error; its request id is {request_id}")
            )
            self._metrics.requests.rejected(problem.kind)
            scope["state"]["problem"] = problem.kind
            await problem.response(Request(scope))(scope, receive, answer.send)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # no label for each mistyped address
            seconds = time.perf_counter() - begin
            # A stream may fail after its head, and then counts by its last line's problem.
            status = scope["state"].get(OUTCOME, answer.status)
            self._metrics.requests.ended(route, str(status), seconds)
            if route in WATCHED:
                # Parts of a request may fail while its answer is 200.
                problem_kind = scope["state"].get("problem")
                self._failures.ended(status == 200 and problem_kind is None, problem_kind)
            access_log.write(scope, status, seconds)


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
            for name, value in SAFE_HEADERS:
                headers.setdefault(name, value)
        await self._send(message)
        if message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
