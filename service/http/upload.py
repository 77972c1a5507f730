"""From a request to the image's bytes, within limits, while the client is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.http.body_limits import Take
from service.http.problems import Problem

T = TypeVar("T")
FIELDS = ("image", "boxes")


@dataclass(frozen=True)
class Upload:
    image: bytes
    boxes: str | None = None


async def read_upload(request: Request, limit: int, seconds: float, take: Take) -> Upload:
    """A raw image body, or a form with the field `image` and perhaps `boxes`, sent within `seconds`.

    Raises Problem; ClientDisconnect if the client leaves; what `take` raises, which is told of every part's
    bytes. Never holds more than `limit` bytes and a chunk.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, limit, take)
    except TimeoutError as error:
        raise Problem("slow-body", f"the body was not complete after {seconds:g} s") from error


async def _read(request: Request, limit: int, take: Take) -> Upload:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_many_bytes(limit)
    limited = _limited(request, limit, take)
    if content_type == "multipart/form-data":
        return await _form(limited)
    if content_type.startswith("image/") or content_type == "application/octet-stream":
        return Upload(await limited.body())
    raise Problem(
        "unsupported-content-type",
        f"the content type is {content_type[:80]!r}; send image/*, application/octet-stream "
        "or multipart/form-data with the field image",
    )


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; cancels it and raises ClientDisconnect when the client leaves. The body must be read."""
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


def _limited(request: Request, limit: int, take: Take) -> Request:
    """The same request, whose body may not pass the limit, whatever its headers say."""
    total = 0

    async def receive() -> Message:
        nonlocal total
        message = await request.receive()
        size = len(message.get("body", b""))
        total += size
        if total > limit:
            raise _too_many_bytes(limit)
        take(size)
        return message

    return Request(request.scope, receive)


async def _form(request: Request) -> Upload:
    try:
        async with request.form(max_files=1, max_fields=len(FIELDS)) as form:
            if unknown := sorted(set(form) - set(FIELDS)):
                raise Problem(
                    "bad-request",
                    f"there is no form field {', '.join(unknown)[:80]!r}; allowed: {', '.join(FIELDS)}",
                )
            image, boxes = form.get("image"), form.get("boxes")
            if not isinstance(image, UploadFile):
                raise Problem("missing-image", "the form must have a file in the field image")
            if isinstance(boxes, UploadFile):
                raise Problem("bad-request", "the form field boxes must be text, not a file")
            return Upload(await image.read(), boxes)
    except HTTPException as error:  # what Starlette makes of a form that cannot be parsed
        raise Problem("malformed-multipart", error.detail) from error


def _too_many_bytes(limit: int) -> Problem:
    return Problem("too-many-bytes", f"the body may have at most {limit} bytes")
