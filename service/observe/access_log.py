"""The access log: a line of JSON for each request."""

from __future__ import annotations

import json
import logging
import time

from starlette.types import Scope

LOGGER = "pointrend.access"
# What asks for these does so every few seconds, for ever: it is counted, and logged only where it failed.
_PROBED = frozenset(
    ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready")
)
_MEMBERS = ("stages_ms", "instances", "problem")  # of the request's state, where it has them
MOST = 200  # characters of what the client chose
_log = logging.getLogger(LOGGER)


def write(scope: Scope, status: int | str, seconds: float) -> None:
    """Log a request that has ended, unless the log is switched off.

    `status` is that of the answer, or the name of the end without one. The values of the query are left out, because
    boxes may be long, and so are keys. Probes and scrapes that succeeded have the level DEBUG, everything else INFO.
    """
    level = logging.DEBUG if _is_probe(scope) and status == 200 else logging.INFO
    if not _log.isEnabledFor(level):
        return
    client, state = scope.get("client"), scope["state"]
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "id": state["request_id"],
        "client": client[0] if client else None,
        "method": scope["method"][:MOST],
        "path": scope["path"][:MOST],
        "status": status,
        "seconds": round(seconds, 4),
    }
    _log.log(level, json.dumps(entry | {name: state[name] for name in _MEMBERS if name in state}))


def _is_probe(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and getattr(scope.get("route"), "path", None) in _PROBED
