"""What a connection may wait for: for a request's head, and for its answer to be taken, each for a limited time."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

_log = logging.getLogger(__name__)


def connection(answer_seconds: float, head_seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol for HTTP, with two limits.

    What it has written must be with the kernel after `answer_seconds`. uvicorn hands an answer to the transport and is
    done with the request; the transport would keep it for as long as the client leaves its connection open, read or
    not. Closing it politely would wait for the same client.

    The head of the first request must be there `head_seconds` after the connection, that of each further one as long
    after the answer before it. uvicorn's own limit is for connections that are silent after an answer.
    """

    class Connection(H11Protocol):
        _limit: asyncio.TimerHandle | None = None  # of an answer
        _head: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)  # paused: something is left; resumed: nothing
            self._await_head()

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and self._head is not None:
                self._head.cancel()

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()
            if self.cycle is answered:  # or the next request was there already
                self._await_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._limit = self.loop.call_later(answer_seconds, self._drop)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._forget()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget()
            if self._head is not None:
                self._head.cancel()

        def _await_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
            self._head = self.loop.call_later(head_seconds, self.timeout_keep_alive_handler)

        def _drop(self) -> None:
            left = self.transport.get_write_buffer_size()
            _log.warning("a client has not taken its answer in %g s: %d bytes dropped", answer_seconds, left)
            # Reset rather than closed: the kernel would keep its share, too, for a client that does not take it.
            connected: socket.socket = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

        def _forget(self) -> None:
            if self._limit is not None:
                self._limit.cancel()
                self._limit = None

    return Connection
