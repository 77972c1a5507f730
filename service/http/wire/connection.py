"""uvicorn's protocol for HTTP with limits: on time, on what a client may send, and on the number of connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Any, cast

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.http.headers import new_request_id
from service.http.problems import Problem
from service.http.wire.lingering import Lingering
from service.http.wire.listening import plain
from service.http.wire.open_connections import OpenConnections
from service.http.wire.parser import READ, Parser
from service.http.wire.refusal import Refusals

FULL = "there are too many connections; try again later"
_log = logging.getLogger(__name__)


def connection(
    answer_seconds: float, head_seconds: float, connections: OpenConnections, refusals: Refusals
) -> type[H11Protocol]:
    """Return uvicorn's protocol for HTTP with more limits.

    What the server has written must be with the kernel after `answer_seconds`. uvicorn hands an answer to the
    transport and is done with the request; the transport would keep it for as long as the client leaves its
    connection open, whether it reads or not. Closing the connection politely would wait for the same client.

    The head of the first request must be complete `head_seconds` after the connection was made, that of each further
    one as long after the previous answer. uvicorn's own limit covers only connections that are silent after an answer.

    What cannot be parsed is answered with a problem, by the app if it has begun to read the request. An answer that
    comes before the end of the request's body is the last of its connection. So is that to a request with both
    Content-Length and Transfer-Encoding, which two servers may read in two ways (RFC 9112, 6.1).
    """
    # One buffer for all connections of this server: its content is copied before another one is read from.
    buffer = memoryview(bytearray(READ))

    class Connection(H11Protocol, asyncio.BufferedProtocol):
        """A connection within these limits."""

        _parser: Parser
        _answer_timer: asyncio.TimerHandle | None = None
        _head_timer: asyncio.TimerHandle | None = None
        _lingering: Lingering
        _refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            super().connection_made(transport)
            self.client = plain(self.client)
            self._lingering = Lingering(transport, self._is_sending)
            self.transport = cast(asyncio.Transport, self._lingering)
            self.conn = self._parser = Parser()
            self.app = self._answer
            # So writing is paused as soon as the kernel has not taken everything, and resumed when it has.
            transport.set_write_buffer_limits(0)
            if connections.admit(self):
                self._await_head()
            else:
                refusals.connection_refused()
                if connections.refuse(self):
                    self._refuse(
                        Problem("connections-full", FULL, headers={"Retry-After": "1"}), new_request_id()
                    )
                else:
                    transport.abort()

        def get_buffer(self, sizehint: int) -> memoryview:
            """Return where the next bytes are to be written."""
            return buffer

        def buffer_updated(self, nbytes: int) -> None:
            """Parse what has come, unless nothing that comes matters any more."""
            if self._lingering.lingers:
                self._lingering.drop(nbytes)
            elif self._parser.failure is None:
                self.data_received(bytes(buffer[:nbytes]))

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:
                self._stop_head_timer()
                connections.busy(self)
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in self.headers}:
                    self.headers.append(CLOSE_HEADER)
            if self._parser.failure is not None:
                self._fail(f"the request cannot be read: {self._parser.failure}")

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()
            if self.cycle is answered:  # otherwise the next request has come already
                self._await_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            connections.busy(self)  # it may have been answered, but not all of the answer has been taken
            self._answer_timer = self.loop.call_later(answer_seconds, self._reset)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_answer_timer()
            if self.cycle is not None and self.cycle.response_complete:
                connections.idle(self)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_answer_timer()
            self._stop_head_timer()
            self._lingering.ended()
            connections.closed(self)

        def drop(self) -> None:
            """Close at once, because another connection needs the place."""
            self.transport.abort()

        def _should_upgrade(self) -> bool:
            return False  # and no line in the log for each client that would like to

        async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
            """Run the app. It is told what is wrong with the body, and its client when to send no more."""
            cycle = self.cycle

            async def receive_checked() -> Message:
                message = await receive()
                if self._parser.failure is not None and message["type"] == "http.request":
                    raise Problem("bad-request", f"the body cannot be read: {self._parser.failure}")
                return message

            async def send_closing(message: Message) -> None:
                if message["type"] == "http.response.start" and cycle.more_body:
                    scope["headers"].append(CLOSE_HEADER)  # which uvicorn repeats in the answer
                await send(message)

            app = cast(Any, self.config.loaded_app)
            await app(scope, receive_checked, send_closing)

        def _is_sending(self) -> bool:
            """Whether the client may be sending what nobody will read."""
            return self._refused or (self.cycle is not None and self.cycle.more_body)

        def _fail(self, detail: str) -> None:
            """Answer what broke the rules of HTTP."""
            self.flow.pause_reading()
            if self.cycle is not None and self.cycle.more_body:
                self.cycle.message_event.set()  # the app, which waits for the body, answers
            elif not self._refused:
                self._stop_head_timer()
                problem = Problem("bad-request", detail)
                self._refuse(problem, refusals.request_refused(self.client, problem))

        def _refuse(self, problem: Problem, request_id: str) -> None:
            """Answer in the app's place, and close."""
            self._refused = True
            self.transport.write(refusals.answer(problem, request_id))
            self.transport.close()

        def _await_head(self) -> None:
            self._stop_head_timer()
            self._head_timer = self.loop.call_later(head_seconds, self.timeout_keep_alive_handler)
            if self.transport.get_write_buffer_size() == 0:
                connections.idle(self)

        def _reset(self) -> None:
            left = self.transport.get_write_buffer_size()
            _log.warning("a client has not taken its answer in %g s: %d bytes dropped", answer_seconds, left)
            # Because a closed connection's share in the kernel would wait for the same client.
            connected: socket.socket = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

        def _stop_answer_timer(self) -> None:
            if self._answer_timer is not None:
                self._answer_timer.cancel()
                self._answer_timer = None

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Connection
