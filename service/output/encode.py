"""The answer to a request: what was found, encoded in the format asked for, with the times it took."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from model.masks.runs import TooDetailed
from service.output.format import Content, Format, Found
from service.output.limits import Allowance, too_detailed
from service.output.text import Text, object_text


@dataclass(frozen=True)
class Answer:
    """An encoded answer. `body` is its JSON text, or the bytes of a file."""

    body: bytes
    media_type: str
    seconds: Mapping[str, float]  # by stage, with "encode" and "total"

    @property
    def payload(self) -> Content:
        """The answer as Python has it. It is made anew each time, and may take far more memory than the text."""
        payload: Content = json.loads(self.body) if self.media_type == "application/json" else self.body
        return payload


def encode(
    found: Found,
    format: Format,
    stages: Mapping[str, float],
    started: float,
    abandoned: threading.Event | None = None,
    *,
    line: bool = False,
) -> Answer:
    """Encode what was found. Runs in the pool, and lets other threads run every few milliseconds.

    With `line`, an enveloped answer is the last line of a stream.
    `stages` are the seconds spent before; the stage "encode" is added, which ends before the parts of the text are put
    together because the text carries it, and "total" since `started` (on time.monotonic's clock, the event loop's).
    Raises CancelledError within some 50 ms after `abandoned` is set, because the client has left, and AnswerTooLarge
    if the answer would be larger than answers may be.
    """
    begin = time.monotonic()
    content = _content(found, format, abandoned)
    end = time.monotonic()
    seconds = {**stages, "encode": end - begin, "total": end - started}
    text = content if isinstance(content, Text) else _enveloped(found, content, seconds, line=line)
    return Answer(text.joined(), format.media_type, seconds)


def encode_level(found: Found, format: Format, side: int, abandoned: threading.Event) -> bytes:
    """Return a line of a stream: what was found, with masks as they are at a level of this side.

    The format must be enveloped. Runs in the pool, and raises what `encode` raises.
    """
    content = _content(found, format, abandoned)
    assert not isinstance(content, Text)
    named = {"event": "level", "side": side, "model": found.model}
    size = {"width": found.width, "height": found.height}
    return _line(object_text({**named, **size, **content})).joined()


def _content(found: Found, format: Format, abandoned: threading.Event | None) -> Mapping[str, object] | Text:
    try:
        return format.encoders[found.task](found, Allowance(abandoned or threading.Event()))
    except TooDetailed as error:
        raise too_detailed(error) from error


def _line(text: Text) -> Text:
    return Text([*text.pieces, b"\n"])


def _enveloped(
    found: Found, members: Mapping[str, object], seconds: Mapping[str, float], *, line: bool
) -> Text:
    text = object_text(
        {
            **({"event": "done"} if line else {}),
            "id": found.request_id,
            "model": found.model,
            "width": found.width,
            "height": found.height,
            "degraded": found.degraded,
            **members,
            **found.more,
            "timings_ms": {stage: round(1000 * value, 2) for stage, value in seconds.items()},
        }
    )
    return _line(text) if line else text
