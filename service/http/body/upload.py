"""From a request to the bytes of its image, within limits, and for as long as the client is there."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from service.http.body.form import Upload, read_form
from service.http.body.json_reader import read_json, text_parameters
from service.http.body.limits import Body
from service.http.problems import Problem

FORM = "multipart/form-data"
JSON = "application/json"
WITH_PARAMETERS = (FORM, JSON)  # types of bodies that may name parameters
T = TypeVar("T")
# Reads the parts of a request's body. Raises Problem.
Reader = Callable[[Request, AsyncIterator[bytes]], Awaitable[Upload]]


async def read_body(request: Request, chunks: AsyncIterator[bytes]) -> Upload:
    """Read a raw image, or a form or a JSON object with the image and perhaps parameters of the request.

    Raises Problem for a body of another type.
    """
    content_type = content_type_of(request)
    if content_type == FORM:
        return await read_form(request.headers["content-type"], chunks)
    if content_type == JSON:
        read = await read_json(chunks, "image")
        return Upload(read.image, text_parameters(read.parameters))
    if content_type.startswith("image/") or content_type == "application/octet-stream":
        return Upload(await joined(chunks))
    raise Problem(
        "unsupported-content-type",
        f"the content type is {content_type[:80]!r}; send image/*, application/octet-stream, "
        "multipart/form-data with the field image, or application/json with the member image in base64",
    )


async def read_upload(
    request: Request, limit: int, seconds: float, body: Body, reader: Reader = read_body
) -> Upload:
    """Read what a request has sent, with `reader`.

    The body may have `limit` bytes and must be complete after `seconds`; its share in the memory for bodies grows
    before each part is kept, and it is in memory once. Raises Problem, BodiesFull, ClientDisconnect if the client
    leaves.
    """
    late = Problem("slow-body", f"the body was not complete after {seconds:g} s")
    return await in_time(_read(request, limit, body.take, reader), seconds, body, late)


async def in_time(reading: Coroutine[Any, Any, T], seconds: float, body: Body, late: Problem) -> T:
    """Return what is read, as a body that may have to make room for others. Raise `late` after so many seconds."""
    loop = asyncio.get_running_loop()

    def drop() -> None:
        if not timer.expired():
            timer.reschedule(loop.time())

    try:
        async with asyncio.timeout(seconds) as timer:
            body.receive(drop)
            try:
                return await reading
            finally:
                body.complete()
    except TimeoutError as error:
        if body.dropped:
            raise body.too_slow() from error
        raise late from error


def content_type_of(request: Request) -> str:
    """Return the type that a request says its body has, without parameters and in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request, limit: int, take: Callable[[int], None], reader: Reader) -> Upload:
    _check_encoding(request)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_many_bytes(limit)
    return await reader(request, _limited(request, limit, take))


def _check_encoding(request: Request) -> None:
    given = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if given not in ("", "identity"):
        raise Problem(
            "unsupported-encoding",
            f"the content encoding is {given[:80]!r}; send the body as it is, without a Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


async def _limited(request: Request, limit: int, take: Callable[[int], None]) -> AsyncIterator[bytes]:
    """Yield the body's parts. Raises Problem if it passes the limit, whatever its headers say."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise _too_many_bytes(limit)
        take(len(chunk))
        yield chunk


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    """Return all parts as one."""
    buffer = io.BytesIO()
    async for chunk in chunks:
        buffer.write(chunk)
    return buffer.getvalue()  # takes over the buffer's memory, while joining a list would copy all of it


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work; cancel it and raise ClientDisconnect as soon as the client leaves.

    The request's body must have been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_many_bytes(limit: int) -> Problem:
    return Problem("too-many-bytes", f"the body may have at most {limit} bytes")
