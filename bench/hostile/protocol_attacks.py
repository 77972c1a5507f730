"""Attacks by the way in which requests are sent, whatever is in them."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack, suppress

from bench.hostile.pictures_attacks import Report, told
from bench.hostile.target import AttackedService
from bench.hostile.wire import Stream, WireAnswer, ask, connected, head

# Sizes of chunks in bytes, how many connections send them, and how many bytes a second all of these send together.
CHUNKS = ((1, 4, 1_500_000), (1000, 12, 7_000_000))  # far too small, and the smallest that are allowed


async def small_chunks(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Send bodies in chunks that are too small, and in the smallest that are allowed."""
    sent, end = {size: 0 for size, _, _ in CHUNKS}, time.monotonic() + seconds

    async def client(size: int, rate: float) -> None:
        part = (b"%x\r\n%s\r\n" % (size, b"x" * size)) * max(1, 30_000 // size)
        while time.monotonic() < end:
            with suppress(OSError, TimeoutError):
                async with connected(target.address) as (_, writer):
                    writer.write(head("/segment", "chunked"))
                    while time.monotonic() < end:
                        writer.write(part)
                        await asyncio.wait_for(writer.drain(), max(0.1, end - time.monotonic()))
                        sent[size] += len(part)
                        await asyncio.sleep(len(part) / rate)
            await asyncio.sleep(0.1)

    clients = (client(size, rate / count) for size, count, rate in CHUNKS for _ in range(count))
    await asyncio.gather(*clients)
    return "taken: " + ", ".join(f"{count / 1e6:.1f} MB in chunks of {size}" for size, count in sent.items())


async def form_charset(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Send forms whose content types name codecs that are slow or always fail."""
    answers, end = list[WireAnswer](), time.monotonic() + seconds
    while time.monotonic() < end:
        for charset in ("punycode", "undefined", "idna", "zlib_codec"):
            field = b"a" * 500_000 + b"-" + b"z9" * 200_000
            form = b""
            for name, content in (("boxes", field), ('image"; filename="x', picture)):
                form += (
                    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n'
                    f"Content-Type: text/plain; charset={charset}\r\n\r\n"
                ).encode()
                form += content + b"\r\n"
            kind = f"multipart/form-data; boundary=b; charset={charset}"
            answers.append(await ask(target.address, "/segment", form + b"--b--\r\n", kind))
            await asyncio.sleep(0.2)
    return told(answers)


async def idle_sockets(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Open 200 connections that send nothing. The service may have 64 files open."""
    before = target.log.stat().st_size
    opened = 0
    async with AsyncExitStack() as stack:
        for _attempt in range(200):
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(stack.enter_async_context(connected(target.address)), 2)
                opened += 1
        await asyncio.sleep(seconds)
    return f"{opened} opened, log grew by {(target.log.stat().st_size - before) / 1e6:.1f} MB"


async def slow_bodies(target: AttackedService, seconds: float, _: bytes) -> Report:
    """Let 110 connections send so much of a body that all together nearly fill the memory for bodies, and then trickle.

    Less room is left than a small request needs. A connection that is closed comes again.
    """
    end = time.monotonic() + seconds
    page = await ask(target.address, "/metrics", method="GET")
    known = re.search(rb'budget_bytes\{budget="held"\} (\S+)', page.body)
    limit = int(float(known[1])) if known else 1_000_000_000  # before there was such a metric
    share, closed = (limit - 40_000) // 110, 0

    async def send(stream: Stream) -> None:
        reader, writer = stream
        answered = asyncio.create_task(reader.read(1))
        try:
            writer.write(head("/segment", 25_000_000))
            sent = 0
            while time.monotonic() < end and not answered.done():
                part = max(1, min(1 << 16, share - sent))
                writer.write(b"x" * part)
                await asyncio.wait_for(writer.drain(), max(0.1, end - time.monotonic()))
                sent += part
                await asyncio.sleep(0 if part > 1 else 1)
        finally:
            answered.cancel()

    async def client() -> None:
        nonlocal closed
        while time.monotonic() < end:
            with suppress(OSError, TimeoutError):
                async with connected(target.address) as stream:
                    await send(stream)
            if time.monotonic() < end:
                closed += 1
                await asyncio.sleep(0.2)

    await asyncio.gather(*(client() for _ in range(110)))
    return f"{share / 1e6:.1f} MB each, {closed} bodies were refused"


async def parameters(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Send 10,000 parameters that do not exist."""
    letters = "abcdefghijklmnopqrstuv"
    names = [a + b + c for a in letters for b in letters for c in letters][:10_000]
    answers, end = list[WireAnswer](), time.monotonic() + seconds
    while time.monotonic() < end:
        answers.append(await ask(target.address, "/segment?" + "&".join(names), picture, "image/jpeg"))
        await asyncio.sleep(0.1)
    return told(answers) + f", largest answer {max(answer.size for answer in answers) / 1e3:.1f} kB"
