"""Servers in processes of their own, one at a time: two would share the cores."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

KINDS = ("ours", "plain", "litserve")
_MODULES = {"ours": ("service", "serve"), "plain": ("bench.load.peers",), "litserve": ("bench.load.lit",)}
_READY = {"ours": "/readyz", "plain": "/readyz", "litserve": "/health"}
PATIENCE = 120.0  # s


@dataclass(frozen=True)
class Server:
    kind: str
    url: str
    pid: int


@contextmanager
def serving(kind: str, bundle: Path, **settings: object) -> Iterator[Server]:
    """A server that is ready; `settings` are ours. Raises RuntimeError if it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *_MODULES[kind], "--bundle", str(bundle), "--port", str(port)]
    environment = os.environ | {f"POINTREND_{name.upper()}": str(value) for name, value in settings.items()}
    with tempfile.TemporaryFile("w+") as log:
        # A session of its own, so that whatever it starts ends with it.
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE
            while not _ready(url + _READY[kind]):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{kind} does not start:\n{log.read()[-2000:]}")
                time.sleep(0.1)
            yield Server(kind, url, process.pid)
        finally:
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
