"""Run uvicorn so that a first signal lets it finish what it has accepted, and a second one ends it at once."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.budgets import describe
from service.http.wire import open_files
from service.http.wire.connection import connection
from service.http.wire.failures import FailureLog
from service.http.wire.listening import ALL_OF_IPV6, dual_stack, tell_address
from service.http.wire.open_connections import OpenConnections
from service.http.wire.proxies import TRUSTED, BehindProxies
from service.http.wire.refusal import Refusals
from service.machine import available
from service.observe import access_log
from service.settings import Settings

WAITING = 1024  # connections that the kernel keeps until they are accepted
_log = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT, stops accepting and finishes what was accepted, within the grace time.

    `address_file` gets the address of the server once it listens.
    """

    def __init__(self, config: uvicorn.Config, address_file: Path | None = None) -> None:
        super().__init__(config)
        self._address_file = address_file
        self.stuck = False  # whether a request has neither ended nor been cancelled when the server ends

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to accept connections: few at once, while the kernel keeps many."""
        asyncio.get_running_loop().set_exception_handler(FailureLog())
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                # The configured backlog is also the number of attempts that asyncio makes, and logs, in a row when
                # there are too many open files.
                with listening.dup() as same:
                    same.listen(WAITING)
        if self._address_file is not None:
            tell_address(self._address_file, self.servers[0].sockets[0])

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Finish requests within the grace time, cancel the others, and note whether one of these has not ended."""
        await super().shutdown(sockets)
        self.stuck = any(not task.done() for task in self.server_state.tasks)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, or end at once if that has begun already."""
        if self.should_exit:
            _log.warning("a second signal: ending at once")
            os._exit(1)  # nothing is waited for, not even a device that is stuck
        else:
            _log.info("draining: finishing what was accepted")
            self.should_exit = True


def configured(app: FastAPI, settings: Settings, **more: Any) -> uvicorn.Config:
    """Return how uvicorn serves the app, with more options of its own."""
    requests = app.state.service.metrics.requests
    places = app.state.service.resources.workers.pool_size
    most = open_files.most_connections(settings.max_connections, open_files.raise_limit(), places)
    protocol = connection(
        settings.answer_seconds,
        settings.body_seconds,
        OpenConnections(most),
        Refusals(requests, FailureLog(), settings.root_path),
    )
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", TRUSTED)  # a variable of uvicorn's
    return uvicorn.Config(
        BehindProxies(app, trusted, settings.root_path),
        http=protocol,
        # uvloop, which uvicorn would prefer where it is installed, does not ask this protocol for its buffer: it would
        # read more at once, and hand over what comes after an answer.
        loop="asyncio",
        proxy_headers=False,  # BehindProxies has them
        ws="none",
        access_log=False,  # observe/access_log.py writes one as JSON
        server_header=False,
        backlog=open_files.ACCEPTS,
        timeout_graceful_shutdown=settings.grace_seconds,
        **more,
    )


def run(app: FastAPI, settings: Settings) -> int:
    """Serve until a signal. Return the exit code: 0 if every accepted request had its whole answer, read or not."""
    config = configured(
        app, settings, host=settings.host, port=settings.port, log_config=_logging(settings.access_log)
    )
    server = Server(config, settings.address_file)
    service = app.state.service
    for note in dict.fromkeys(note for engine in service.engines.values() for note in engine.execution.notes):
        _log.info("%s", note)
    _log.info(
        "device %s, %d threads for its work (%d allowed by affinity and cgroup)",
        service.settings.device,
        settings.thread_budget,
        available(),
    )
    _log.info("%s", describe(service.budgets))
    if settings.host == ALL_OF_IPV6:
        with dual_stack(settings.port) as listening:
            _log.info("listening at port %d, IPv6 and IPv4", listening.getsockname()[1])
            server.run([listening])
    else:
        server.run()
    lost: int = service.metrics.requests.lost
    return 1 if lost or server.stuck else 0


def _logging(access: bool) -> dict[str, Any]:
    """Return a configuration of logs: requests as JSON on standard output, everything else on standard error."""
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
            access_log.LOGGER: {
                "handlers": ["output"],
                "level": "INFO" if access else "WARNING",
                "propagate": False,
            },
            "httpx": {"level": "WARNING"},  # it names the address of each file that it fetches
        },
        "root": {"handlers": ["errors"], "level": "INFO"},
    }
