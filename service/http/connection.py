"""Limits on the time that a connection may wait: for the head of a request, and for its answer to be taken."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

_log = logging.getLogger(__name__)


def connection(answer_seconds: float, head_seconds: float) -> type[H11Protocol]:
    """Return uvicorn's protocol for HTTP with two more limits.

    What the server has written must be with the kernel after `answer_seconds`. uvicorn hands an answer to the
    transport and is done with the request; the transport would keep it for as long as the client leaves its
    connection open, whether it reads or not. Closing the connection politely would wait for the same client.

    The head of the first request must be complete `head_seconds` after the connection was made, that of each further
    one as long after the previous answer. uvicorn's own limit covers only connections that are silent after an answer.
    """

    class Connection(H11Protocol):
        """A connection that is dropped when it exceeds one of the two limits."""

        _answer_timer: asyncio.TimerHandle | None = None
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            super().connection_made(transport)
            # So writing is paused as soon as the kernel has not taken everything, and resumed when it has.
            transport.set_write_buffer_limits(0)
            self._await_head()

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and self._head_timer is not None:
                self._head_timer.cancel()

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()
            if self.cycle is answered:  # otherwise the next request has come already
                self._await_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._answer_timer = self.loop.call_later(answer_seconds, self._drop)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_answer_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_answer_timer()
            if self._head_timer is not None:
                self._head_timer.cancel()

        def _await_head(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
            self._head_timer = self.loop.call_later(head_seconds, self.timeout_keep_alive_handler)

        def _drop(self) -> None:
            left = self.transport.get_write_buffer_size()
            _log.warning("a client has not taken its answer in %g s: %d bytes dropped", answer_seconds, left)
            # Reset, because a closed connection's share in the kernel would wait for the same client.
            connected: socket.socket = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

        def _stop_answer_timer(self) -> None:
            if self._answer_timer is not None:
                self._answer_timer.cancel()
                self._answer_timer = None

    return Connection
