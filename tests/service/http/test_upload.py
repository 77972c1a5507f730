"""Bodies while they are received: in memory once, never in a file, and counted as what they are."""

from __future__ import annotations

import asyncio
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.requests import Request

from service.http.body.form import Upload
from service.http.body.limits import Body, BodyBudget
from service.http.body.upload import read_upload
from service.http.problems import Problem

SIZE = 24_000_000
CHUNK = 65_536
HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
TAIL = b'\r\n--x\r\nContent-Disposition: form-data; name="boxes"\r\n\r\n[]\r\n--x--\r\n'
FORM = "multipart/form-data; boundary=x"


def parts(form: bool) -> Iterator[bytes]:
    """A body of SIZE bytes for the image, made while it is sent, as a raw body or in a form."""
    if form:
        yield HEAD
    for begin in range(0, SIZE, CHUNK):
        yield bytes([begin // CHUNK % 251]) * min(CHUNK, SIZE - begin)
    if form:
        yield TAIL


def request_of(content_type: str, chunks: Iterator[bytes]) -> Request:
    async def messages() -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    source = messages()
    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "headers": headers, "method": "POST"}, source.__anext__)


def read(content_type: str, chunks: Iterator[bytes], body: Body | None = None) -> Upload:
    body = body or Body(BodyBudget(2 * SIZE))
    return asyncio.run(read_upload(request_of(content_type, chunks), 2 * SIZE, 60, body))


@pytest.mark.parametrize(("content_type", "form"), [("image/png", False), (FORM, True)])
def test_a_body_is_in_memory_once_and_counted_as_what_it_is(
    content_type: str, form: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was made")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, no_file)
    bodies = BodyBudget(2 * SIZE)
    tracemalloc.start()
    try:
        with bodies.reserve() as body:
            upload = read(content_type, parts(form), body)
            held, peak = tracemalloc.get_traced_memory()
            assert bodies.held == SIZE + (len(HEAD) + len(TAIL) if form else 0)
            assert SIZE <= held < SIZE + 1_000_000
            assert peak < 1.3 * SIZE  # the buffer grows by an eighth; a second copy would be another SIZE
    finally:
        tracemalloc.stop()
    assert len(upload.image) == SIZE
    assert upload.image[::CHUNK][:300] == b"".join(parts(False))[::CHUNK][:300]
    assert upload.parameters == ({"boxes": "[]"} if form else {})


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        (HEAD + b"a\r\n" + HEAD + b"b\r\n--x--\r\n", "malformed-multipart", "image comes several times"),
        (HEAD + b"a" + TAIL[:-8] + TAIL, "malformed-multipart", "boxes comes several times"),
        (HEAD[:20], "malformed-multipart", "it ends within the headers of a field"),
        (b"--x\r\nno header\r\n\r\n", "malformed-multipart", "cannot be read"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n", "malformed-multipart", "name"),
        (HEAD + b"a" + TAIL.replace(b"[]", b"[" * 1_048_577), "malformed-multipart", "at most 1048576 bytes"),
        (HEAD + b"a" + TAIL.replace(b"boxes", b"b\xff"), "bad-request", "there is no form field"),
    ],
)
def test_what_is_wrong_with_a_form_is_said(body: bytes, kind: str, detail: str) -> None:
    with pytest.raises(Problem, match=detail) as caught:
        read(FORM, iter([body]))
    assert caught.value.kind == kind


def test_a_form_in_single_bytes_is_the_same() -> None:
    body = HEAD + bytes(range(256)) + TAIL
    assert read(FORM, (bytes([each]) for each in body)) == Upload(bytes(range(256)), {"boxes": "[]"})
