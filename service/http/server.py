"""uvicorn, told how to end: the first signal drains, a second one does not wait."""

from __future__ import annotations

import asyncio
import logging
import os
from socket import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.http.connection import connection
from service.http.middleware import ACCESS
from service.settings import Settings
from service.threads import available

_log = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT stop accepting and finish what was accepted, within the grace time."""

    lost = False  # accepted requests that the grace time did not suffice for

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # Looked at just before uvicorn gives up on them: it forgets what it has cancelled.
        grace = self.config.timeout_graceful_shutdown or 0
        end = asyncio.get_running_loop().call_later(grace, self._look)
        await super().shutdown(sockets)
        end.cancel()

    def _look(self) -> None:
        self.lost = any(not task.done() for task in self.server_state.tasks)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            _log.warning("a second signal: ending at once")
            os._exit(1)  # nothing is waited for, not even a device that is stuck
        else:
            _log.info("draining: finishing what was accepted")
            self.should_exit = True


def run(app: FastAPI, settings: Settings) -> int:
    """Serve until a signal. Returns the exit code: 0 if every accepted request had its answer, read or not."""
    server = Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=connection(settings.answer_seconds, settings.body_seconds),
            ws="none",
            access_log=False,  # the edge's is JSON
            server_header=False,
            log_config=_logging(settings.access_log),
            timeout_graceful_shutdown=settings.grace_seconds,
        )
    )
    _log.info(
        "device %s, %d threads for its work (%d allowed by affinity and cgroup)",
        settings.device,
        settings.thread_budget,
        available(),
    )
    server.run()
    return 1 if server.lost else 0


def _logging(access: bool) -> dict[str, Any]:
    """Requests as JSON on standard output, everything else as text on standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
            "json": {"format": "%(message)s"},
        },
        "handlers": {
            "errors": {"class": "logging.StreamHandler", "formatter": "text"},
            "output": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stdout",
            },
        },
        "loggers": {
            ACCESS: {
                "handlers": ["output"],
                "level": "INFO" if access else "WARNING",
                "propagate": False,
            }
        },
        "root": {"handlers": ["errors"], "level": "INFO"},
    }
