"""The parser of HTTP (h11), with bounds on what the bytes that come may cost.

h11 makes an object of each chunk of a body and of each line of a head, whatever their size: a client that sends a
byte in each chunk makes the event loop work a hundred times as long for a byte as one that sends large ones.
"""

from __future__ import annotations

import re
from typing import Any

import h11

MAX_HEAD = 16_384  # bytes of a request's head; boxes may be in its query
MAX_HEADERS = 100
CHUNKS = 128  # chunks of a body after which their average size is checked
MIN_CHUNK = 1000  # bytes that such chunks must have on average; HTTP libraries send 4 kB and more
READ = 16_384  # bytes read at once, so that one connection never holds the event loop for more than these
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*).*", re.IGNORECASE | re.DOTALL)


class Parser(h11.Connection):
    """h11's parser. What it refuses is told in `failure`, after which it reads nothing more and raises nothing."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self.failure: str | None = None
        self._chunks = self._bytes = 0

    def next_event(self) -> Any:
        """Return the next event, or NEED_DATA if there is none or the client has broken a rule."""
        if self.failure is not None:
            return h11.NEED_DATA
        try:
            if self.their_state is h11.IDLE:
                self._check_head()
            event = super().next_event()
            if isinstance(event, h11.Request):
                if event.http_version not in (b"1.0", b"1.1"):
                    raise h11.RemoteProtocolError("the versions 1.0 and 1.1 of HTTP are allowed")
                event = _in_origin_form(event)
                self._chunks = self._bytes = 0
            elif isinstance(event, h11.Data):
                self._check_chunk(event)
        except h11.RemoteProtocolError as error:
            self.failure = str(error)[:200]
            return h11.NEED_DATA
        return event

    def _check_head(self) -> None:
        """Raise RemoteProtocolError if the head at hand is too large, before it is parsed line by line."""
        received, _ = self.trailing_data
        # As in h11, a line may end without the carriage return. Two searches are faster than its regular expression.
        ends = (received.find(b"\n\r\n"), received.find(b"\n\n"))
        end = min((at for at in ends if at >= 0), default=len(received))
        if end > MAX_HEAD:
            raise h11.RemoteProtocolError(f"a head may have at most {MAX_HEAD} bytes")
        if received.count(b"\n", 0, end) > MAX_HEADERS:
            raise h11.RemoteProtocolError(f"at most {MAX_HEADERS} headers are allowed")

    def _check_chunk(self, event: h11.Data) -> None:
        """Raise RemoteProtocolError if the last chunks were too small. A body with a length has none."""
        self._bytes += len(event.data)
        self._chunks += event.chunk_end
        if self._chunks == CHUNKS:
            if self._bytes < CHUNKS * MIN_CHUNK:
                raise h11.RemoteProtocolError(
                    f"{CHUNKS} chunks must have {MIN_CHUNK} bytes on average; send larger ones"
                )
            self._chunks = self._bytes = 0


def _in_origin_form(request: h11.Request) -> h11.Request:
    """Return a request whose target has no host; if it has one, that is in the header Host (RFC 9112, 3.2.2)."""
    match = _ABSOLUTE.fullmatch(request.target)
    if match is None:
        return request
    host, target = match[1], match[2] if match[2].startswith(b"/") else b"/" + match[2]
    headers = [(name, host if name == b"host" else value) for name, value in request.headers]
    return h11.Request(
        method=request.method, target=target, headers=headers, http_version=request.http_version
    )
