"""A connection's way out: an answer that is not taken in time is dropped, with its connection."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

_log = logging.getLogger(__name__)


def connection(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol for HTTP, with a limit: what it has written must be with the kernel after `seconds`.

    uvicorn hands an answer to the transport and is done with the request; the transport would keep it for as
    long as the client leaves its connection open, read or not. Closing it politely would wait for the same client.
    """

    class Connection(H11Protocol):
        _limit: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)  # paused: something is left; resumed: nothing

        def pause_writing(self) -> None:
            super().pause_writing()
            self._limit = self.loop.call_later(seconds, self._drop)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._forget()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget()

        def _drop(self) -> None:
            left = self.transport.get_write_buffer_size()
            _log.warning("a client has not taken its answer in %g s: %d bytes dropped", seconds, left)
            # Reset rather than closed: the kernel would keep its share, too, for a client that does not take it.
            connected: socket.socket = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

        def _forget(self) -> None:
            if self._limit is not None:
                self._limit.cancel()
                self._limit = None

    return Connection
