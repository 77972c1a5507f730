"""How a connection is closed on a client that is still sending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LINGER_SECONDS, LINGER_BYTES = 5.0, 100_000_000


class Lingering:
    """A transport whose `close` waits for the client to read the answer, if the client may still be sending.

    What is received on a closed connection makes the kernel reset it, and the client, which sends everything before
    it reads, would see the reset instead of the answer. So only the sending direction is closed, and what comes is
    dropped unparsed (`drop`), until the client closes its side, or too much has come or too much time has passed.
    """

    def __init__(self, transport: asyncio.Transport, sending: Callable[[], bool]) -> None:
        self._transport = transport
        self._sending = sending
        self._timer: asyncio.TimerHandle | None = None
        self._left = LINGER_BYTES
        self.lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether no more answers can be sent."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """Close after what was written has been sent; at once when called for the second time."""
        if self.lingers or self._transport.is_closing() or not self._sending():
            self._transport.close()
            return
        self.lingers = True
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)
        with suppress(OSError):  # the client has reset the connection meanwhile
            self._transport.write_eof()
        self._transport.resume_reading()

    def drop(self, count: int) -> None:
        """Count bytes that came after the answer."""
        self._left -= count
        if self._left < 0:
            self._transport.abort()

    def ended(self) -> None:
        """Forget the connection, which is closed."""
        if self._timer is not None:
            self._timer.cancel()
