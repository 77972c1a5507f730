"""The access log: a line of JSON for each request."""

from __future__ import annotations

import json
import logging
import time

from starlette.types import Scope

LOGGER = "pointrend.access"
_MEMBERS = ("stages_ms", "instances", "problem")  # of the request's state, where it has them
MOST = 200  # characters of what the client chose
_log = logging.getLogger(LOGGER)


def write(scope: Scope, status: int | str, seconds: float) -> None:
    """Log a request that has ended, unless the log is switched off.

    `status` is that of the answer, or the name of the end without one. The values of the query are left out, because
    boxes may be long, and so are keys.
    """
    if not _log.isEnabledFor(logging.INFO):
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
    _log.info(json.dumps(entry | {name: state[name] for name in _MEMBERS if name in state}))
