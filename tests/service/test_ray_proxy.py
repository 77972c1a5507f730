"""The middleware around Ray's proxy, with an app in the place of the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from service.http.headers import REQUEST_ID
from service.http.problems import MEDIA_TYPE
from service.ray_proxy import HeldBytes, RepeatLostRequests, middlewares

Attempt = Callable[[Scope, Receive, Send], Awaitable[None]]
BODY = b"picture" * 1000


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def dies(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body and end without an answer, as Ray's proxy does if the replica dies."""
    await read(receive)


async def dies_early(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def echoes(scope: Scope, receive: Receive, send: Send) -> None:
    response = Response(await read(receive))
    for _ in range(2):  # the service's and Ray's
        response.raw_headers.append((b"x-request-id", dict(scope["headers"])[b"x-request-id"]))
    await response(scope, receive, send)


def says(response: Response) -> Attempt:
    async def attempt(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await response(scope, receive, send)

    return attempt


class Proxy:
    """Does what it is told, once an attempt."""

    def __init__(self, *attempts: Attempt) -> None:
        self.left = list(attempts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.left.pop(0)(scope, receive, send)


async def chunks() -> AsyncIterator[bytes]:
    for start in range(0, len(BODY), 1000):
        yield BODY[start : start + 1000]


async def ask(
    proxy: Proxy, held: HeldBytes, path: str = "/segment", body: bytes | None = BODY
) -> httpx.Response:
    app = RepeatLostRequests(proxy, held, pauses=(0, 0))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ray") as client:
        return await client.post(
            path, content=chunks() if body is None else body, headers={REQUEST_ID: "mine"}
        )


def run(proxy: Proxy, limit: int = 2 * len(BODY), **asked: str | None) -> httpx.Response:
    held = HeldBytes(limit)
    answer = asyncio.run(ask(proxy, held, **asked))  # type: ignore[arg-type]
    assert held.used == 0 and not proxy.left
    return answer


@pytest.mark.parametrize("lost", [dies, dies_early, says(PlainTextResponse("unavailable", 503))])
@pytest.mark.parametrize("body", [BODY, None], ids=["whole", "in chunks"])
def test_a_lost_request_is_sent_again_with_its_body(lost: Attempt, body: bytes | None) -> None:
    answer = run(Proxy(lost, lost, echoes), body=body)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers.get_list(REQUEST_ID) == ["mine"]


def test_a_request_that_is_always_lost_is_a_problem() -> None:
    answer = run(Proxy(dies, dies, dies))
    assert (answer.status_code, answer.headers["content-type"]) == (503, MEDIA_TYPE)
    assert answer.headers["retry-after"] and answer.headers[REQUEST_ID] == "mine"
    assert answer.json()["type"] == "/problems/no-replica" and answer.json()["request_id"] == "mine"


def test_a_body_that_is_not_kept_is_not_sent_again() -> None:
    answer = run(Proxy(dies), limit=len(BODY) // 2, body=None)
    assert answer.status_code == 503 and "its body is no longer there" in answer.json()["detail"]


@pytest.mark.parametrize("kind", [MEDIA_TYPE, "application/json"])
def test_an_answer_of_the_service_is_left_alone(kind: str) -> None:
    """Below /v2 its errors are application/json, as the Open Inference Protocol wants them."""
    for status in (200, 404, 408, 429, 500, 503):
        answer = run(Proxy(says(JSONResponse({}, status, media_type=kind))))
        assert (answer.status_code, answer.json()) == (status, {})


@pytest.mark.parametrize(("status", "detail"), [(404, "no replica runs"), (408, "in time")])
def test_what_ray_answers_by_itself_is_a_problem(status: int, detail: str) -> None:
    answer = run(Proxy(says(PlainTextResponse("Path '/segment' not found.", status))))
    assert answer.status_code == 503 and detail in answer.json()["detail"]


def test_rays_own_pages_stay() -> None:
    answer = run(Proxy(says(PlainTextResponse("no", 503))), path="/-/healthz")
    assert (answer.status_code, answer.text) == (503, "no")


def test_a_request_whose_client_has_gone_is_not_sent_again() -> None:
    """Ray's proxy ends without an answer then, too."""
    messages = [{"type": "http.request", "body": BODY}, {"type": "http.disconnect"}]

    async def leaves(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        assert (await receive())["type"] == "http.disconnect"

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: object) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "path": "/segment", "headers": [], "method": "POST"}
    asyncio.run(RepeatLostRequests(Proxy(leaves))(scope, receive, send))


def test_ray_is_given_a_list_of_middleware() -> None:
    (middleware,) = middlewares()
    assert isinstance(middleware, Middleware) and middleware.cls is RepeatLostRequests
