"""Mark the service as not ready after several failed requests in a row, and as ready once one succeeds again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from service.http.problems import Problem
from service.http.query.echo import cut

FAILURES = 5  # so many requests in a row
PROBE_SECONDS = 5.0  # between two probes
OWN = frozenset(("internal-error", "out-of-memory", "stopped", "no-decoder"))  # no fault of the client
_log = logging.getLogger(__name__)


class OwnFailures:
    """Counts the requests in a row that failed for the service's own reasons.

    Requests that were refused or whose client left say nothing about this, and are not counted. After FAILURES in a
    row the service is unready until a request succeeds, or the probe does: without readiness no requests may come.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[None]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = probe
        self._now = now
        self._count = 0
        self._probed = -PROBE_SECONDS
        self._probing: asyncio.Task[None] | None = None

    def ended(self, well: bool, problem: str | None) -> None:
        """Count a request that has ended well, with this kind of problem, or in another way."""
        if well:
            self._count = 0
        elif problem in OWN:
            self._count += 1

    def check(self) -> None:
        """Raise Problem if the last requests failed. Then a probe is begun, unless one was a moment ago."""
        if self._count < FAILURES:
            return
        if self._probing is None and self._now() - self._probed >= PROBE_SECONDS:
            self._probed = self._now()
            self._probing = asyncio.create_task(self._try())
        raise Problem("unhealthy", f"the last {self._count} requests failed; it is tried again")

    async def _try(self) -> None:
        try:
            await self._probe()
            self._count = 0
        except Exception as error:  # whatever fails, the service stays unready
            _log.warning("the service is not ready: a probe failed: %s", cut(str(error)))
        finally:
            self._probing = None
