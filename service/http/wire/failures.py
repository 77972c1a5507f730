"""Log lines about failures that may come thousands of times a second, because clients cause them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)
SECONDS = 1.0  # between two lines about the same failure
_KINDS = 64  # failures that are told apart


class FailureLog:
    """Writes a line about a failure, with how often it happened since the line before, at most once a second.

    It is an exception handler for asyncio's loop, whose own one writes a traceback each time.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kinds: dict[str, tuple[float, int]] = {}  # when the last line was written, and failures since

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log a failure of the event loop, with its traceback unless the system is the cause."""
        message, error = str(context.get("message")), context.get("exception")
        text = f"{message[:200]}: {str(error)[:200]}"
        self.write(f"{message}: {type(error)}", text, None if isinstance(error, OSError) else error)

    def write(self, kind: str, text: str, error: BaseException | None = None) -> None:
        """Log a failure unless one of its kind was logged a moment ago."""
        now = self._now()
        written, more = self._kinds.get(kind, (-SECONDS, 0))
        if now - written < SECONDS:
            self._kinds[kind] = (written, more + 1)
            return
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        _log.error("%s%s", text, f" ({more} times more since the last line)" if more else "", exc_info=error)
