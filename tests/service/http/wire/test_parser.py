"""How many objects the parser makes of what comes, and what it refuses."""

from __future__ import annotations

from typing import Any

import h11
import pytest

from service.http.wire.parser import CHUNKS, MAX_HEAD, MAX_HEADERS, MIN_CHUNK, Parser

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class CountingParser(Parser):
    """A parser that counts the objects that it makes of what comes."""

    events = 0

    def next_event(self) -> Any:
        event = super().next_event()
        self.events += isinstance(event, h11.Event)
        return event


def parsed(parser: Parser, data: bytes, step: int = 16_384) -> bytes:
    """The bytes of the body that the parser finds in what comes in steps."""
    body = b""
    for begin in range(0, len(data), step):
        parser.receive_data(data[begin : begin + step])
        while isinstance(event := parser.next_event(), h11.Event):
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
    return body


def chunks(size: int, count: int) -> bytes:
    return (b"%x\r\n%s\r\n" % (size, bytes(size))) * count


@pytest.mark.parametrize("step", [1, 100, 16_384])
def test_chunks_of_enough_bytes_are_a_body(step: int) -> None:
    parser = Parser()
    body = parsed(
        parser, HEAD + chunks(MIN_CHUNK + 1, 3 * CHUNKS) + chunks(1, CHUNKS - 1) + b"0\r\n\r\n", step
    )
    assert parser.failure is None
    assert len(body) == 3 * CHUNKS * (MIN_CHUNK + 1) + CHUNKS - 1


@pytest.mark.parametrize("before", [b"", chunks(1_000_000, 3)], ids=["at once", "after large ones"])
@pytest.mark.parametrize("size", [1, 64, MIN_CHUNK - 1])
def test_small_chunks_end_it(before: bytes, size: int) -> None:
    parser = CountingParser()
    parsed(parser, HEAD + before)
    begun = parser.events
    body = parsed(parser, chunks(size, 3000))
    assert parser.failure is not None
    assert f"{MIN_CHUNK} bytes on average" in parser.failure
    assert len(body) < 2 * CHUNKS * size
    assert parser.events - begun < 3 * CHUNKS  # some come in two reads


def test_a_body_with_a_length_may_come_byte_by_byte() -> None:
    parser = Parser()
    body = parsed(parser, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + bytes(5000), 1)
    assert (parser.failure, len(body)) == (None, 5000)


@pytest.mark.parametrize("step", [1, 16_384, 1_000_000])
@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", "at most 100 headers"),
        (b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\nHost: a\r\n\r\n", "too long|at most 16384 bytes"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "versions 1.0 and 1.1"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx" + b"\0" * 1000 + b"\r\n\r\n", "illegal header line"),
    ],
    ids=["headers", "bytes", "version", "echo"],
)
def test_a_head_is_bounded_however_it_comes(head: bytes, told: str, step: int) -> None:
    parser = CountingParser()
    parsed(parser, head, step)
    assert parser.failure is not None
    assert len(parser.failure) <= 200
    assert any(part in parser.failure for part in told.split("|"))
    assert parsed(parser, HEAD) == b""  # and nothing more is read
    assert parser.events == 0


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("step", [1, 16_384])
def test_lines_of_a_body_are_no_headers(line_end: bytes, step: int) -> None:
    head = line_end.join([b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 1000", b"", b""])
    parser = Parser()
    body = parsed(parser, head + b"\n" * 1000, step)
    assert (parser.failure, body) == (None, b"\n" * 1000)


def test_lines_without_a_carriage_return_are_headers() -> None:
    parser = Parser()
    parsed(parser, b"GET / HTTP/1.1\nHost: a\n" + b"a: b\n" * MAX_HEADERS + b"\n")
    assert parser.failure == f"at most {MAX_HEADERS} headers are allowed"


@pytest.mark.parametrize(
    ("target", "origin", "host"),
    [
        (b"/a?b", b"/a?b", b"a"),
        (b"http://c:80/a?b=http://d/", b"/a?b=http://d/", b"c:80"),
        (b"HTTPS://c", b"/", b"c"),
        (b"http://c?b", b"/?b", b"c"),
        (b"http://c/a#b", b"/a", b"c"),
        (b"*", b"*", b"a"),
        (b"ftp://c/a", b"ftp://c/a", b"a"),
    ],
)
def test_targets_have_no_host(target: bytes, origin: bytes, host: bytes) -> None:
    parser = Parser()
    parser.receive_data(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nX-Other: b\r\n\r\n")
    request = parser.next_event()
    assert (request.target, list(request.headers)) == (origin, [(b"host", host), (b"x-other", b"b")])
