"""An answer that comes as a stream: a line for each level of its masks, and the last one for the whole answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from pointrend_client.errors import ClientError, Unavailable, reason
from pointrend_client.results import Segmentation, parse
from pointrend_client.retries import failure_of

MEDIA_TYPE = "application/x-ndjson"


def accepting_lines(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return httpx's arguments for a request, with the wish for a stream."""
    return {**arguments, "headers": {**arguments.get("headers", {}), "accept": MEDIA_TYPE}}


class Lines:
    """Makes results of the bytes of one stream as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self._id = response.headers.get("x-request-id", "")
        self._begun: list[bytes] = []  # the parts of a line that has not ended
        self._complete = False

    def feed(self, chunk: bytes) -> Iterator[Segmentation]:
        """Yield the result of each line that ends in these bytes. Raises ClientError if one reports a failure."""
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            whole = b"".join((*self._begun, line))
            self._begun = []
            yield self._read(json.loads(whole))
        if rest:
            self._begun.append(rest)

    def finish(self) -> None:
        """Raise Unavailable if the stream has ended before its answer."""
        if not self._complete:
            raise Unavailable("the stream ended before the answer was complete")

    def _read(self, line: dict[str, Any]) -> Segmentation:
        event = line.pop("event")
        if event == "error":
            raise failure_of(line["status"], line, "the request failed")
        if event == "done":
            self._complete = True
            return parse(line)
        return parse({"id": self._id, "degraded": False, "timings_ms": {}, **line})


def broken(error: httpx.TransportError) -> ClientError:
    """Return what is raised for a stream whose connection fails. It is not tried again: a part was seen already."""
    if isinstance(error, httpx.ReadTimeout):
        return Unavailable("the stream did not go on in time: the timeout passed")
    return Unavailable(f"the stream broke: {reason(error)}")
