"""Requests as bytes on a socket, because an attack sends what no HTTP library would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE = 120.0  # seconds


@dataclass(frozen=True)
class WireAnswer:
    """What came back. Status 0: nothing that can be read, 499: the client left."""

    status: int
    seconds: float
    size: int = 0  # bytes
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Address:
    """Where the service listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"http://{self.host}:{self.port}"


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Stream]:
    """Open a connection; it is reset at the end, without waiting for the other side."""
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def head(path: str, length: int | str, content_type: str = "image/png", method: str = "POST") -> bytes:
    """Return the head of a request. `length` is a number of bytes, or "chunked"."""
    size = "Transfer-Encoding: chunked" if length == "chunked" else f"Content-Length: {length}"
    return (
        f"{method} {path} HTTP/1.1\r\nHost: service\r\nContent-Type: {content_type}\r\n{size}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


async def ask(
    address: Address,
    path: str,
    body: bytes = b"",
    content_type: str = "image/png",
    *,
    method: str = "POST",
    leaves_after: float | None = None,
) -> WireAnswer:
    """Send a request on a connection of its own and return the answer, or leave after some seconds."""
    begin = time.monotonic()
    status, raw = 0, b""
    try:
        async with asyncio.timeout(PATIENCE if leaves_after is None else leaves_after):
            async with connected(address) as (reader, writer):
                writer.write(head(path, len(body), content_type, method) + body)
                with suppress(ConnectionError):  # refused while it is being sent; the answer may be there
                    await writer.drain()
                while part := await reader.read(1 << 16):
                    raw += part
    except TimeoutError:
        status = 0 if leaves_after is None else 499
    except OSError:
        pass
    return _answer(raw, status, time.monotonic() - begin)


def _answer(raw: bytes, status: int, seconds: float) -> WireAnswer:
    top, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) > 1 and words[1].isdecimal():
        status = int(words[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return WireAnswer(status, seconds, len(raw), headers, body)
