"""The answer to a request: what was found, encoded in the format asked for, with the times it took."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from service.output.format import Content, Format, Found, Json


@dataclass(frozen=True)
class Answer:
    """An encoded answer. `body` is the payload as bytes: its JSON text, or the payload itself if it is a file."""

    payload: Content
    body: bytes
    media_type: str
    seconds: Mapping[str, float]  # by stage, with "encode" and "total"


def encode(
    found: Found,
    format: Format,
    stages: Mapping[str, float],
    started: float,
    abandoned: threading.Event | None = None,
) -> Answer:
    """Encode what was found. Runs in the pool.

    `stages` are the seconds spent before; the stage "encode" is added, which ends before the JSON text is made because
    that text carries it, and "total" since `started` (on time.monotonic's clock, the event loop's). Raises
    CancelledError between two instances once `abandoned` is set, because the client has left.
    """
    begin = time.monotonic()
    content = format.encoders[found.task](found, abandoned or threading.Event())
    end = time.monotonic()
    seconds = {**stages, "encode": end - begin, "total": end - started}
    payload = _enveloped(found, cast("Json", content), seconds) if format.enveloped else content
    return Answer(payload, _body(payload), format.media_type, seconds)


def _enveloped(found: Found, content: Json, seconds: Mapping[str, float]) -> Json:
    return {
        "id": found.request_id,
        "model": found.model,
        "width": found.width,
        "height": found.height,
        "degraded": found.degraded,
        **content,
        "timings_ms": {stage: round(1000 * value, 2) for stage, value in seconds.items()},
    }


def _body(payload: Content) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
