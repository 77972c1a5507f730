"""uvicorn, told how to end: the first signal drains, a second one does not wait."""

from __future__ import annotations

import logging
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.edge import ACCESS
from service.settings import Settings

_log = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT stop accepting and finish what was accepted, within the grace time."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            _log.warning("a second signal: ending at once")
            self.force_exit = True
        else:
            _log.info("draining: finishing what was accepted")
            self.should_exit = True


def run(app: FastAPI, settings: Settings) -> int:
    """Serve until a signal. Returns the exit code: 0 if nothing accepted was lost."""
    if settings.access_log:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        access = logging.getLogger(ACCESS)
        access.addHandler(handler)
        access.setLevel(logging.INFO)
        access.propagate = False
    server = Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            ws="none",
            access_log=False,  # the edge's is JSON
            server_header=False,
            timeout_graceful_shutdown=settings.grace_seconds,
        )
    )
    server.run()
    return 1 if server.force_exit else 0
