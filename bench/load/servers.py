"""Servers in processes of their own. Only one runs at a time, because two would share the cores."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

KINDS = ("ours", "plain", "litserve")
_MODULES = {"ours": ("service", "serve"), "plain": ("bench.load.peers",), "litserve": ("bench.load.lit",)}
_READY = {"ours": "/readyz", "plain": "/readyz", "litserve": "/health"}
START_SECONDS = 120.0  # that a server may take until it is ready


@dataclass(frozen=True)
class ServerProcess:
    """A running server."""

    kind: str
    url: str
    pid: int


@contextmanager
def serving(
    kind: str, bundle: Path, *, folder: Path | None = None, **settings: object
) -> Iterator[ServerProcess]:
    """Run a server, ready, with `settings` of our service. Raises RuntimeError if it does not start.

    folder: another checkout, whose service is run.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *_MODULES[kind], "--bundle", str(bundle), "--port", str(port)]
    environment = os.environ | {f"POINTREND_{name.upper()}": str(value) for name, value in settings.items()}
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    with tempfile.TemporaryFile("w+") as log:
        # It gets a session of its own, so that its child processes can be ended with it.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_SECONDS
            while not _ready(url + _READY[kind]):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{kind} does not start:\n{log.read()[-2000:]}")
                time.sleep(0.1)
            yield ServerProcess(kind, url, process.pid)
        finally:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
