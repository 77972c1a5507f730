"""What the tests of docker/ share: programs that check its files, and processes that run them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.parity.goldens import FOLDER
from tests.paths import ROOT

DOCKER = ROOT / "docker"
COFFEE = (FOLDER / "coffee.png").read_bytes()
PNG = {"content-type": "image/png"}


def beside_python(name: str) -> str | None:
    """Return a program's path, beside this Python or on the PATH; None if it is in neither."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which(name, path=places)


def tool(name: str, comes_from: str) -> str:
    """Return a program's path, beside this Python or on the PATH. Without it skip the test, or fail it on CI."""
    found = beside_python(name)
    if found is None:
        assert not os.environ.get("CI"), f".ci/run must install {name}"
        pytest.skip(f"{name} ({comes_from}) is not installed")
    return found


def run(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command and return its output. Fail with all that it printed if it does not succeed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that writes to `log`, and kill it at the end."""
    with log.open("wb") as file:
        started = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def serve_command(bundle: Path, host: str, port: int) -> list[str]:
    """Return the command that serves a bundle with one thread."""
    options = ["--bundle", str(bundle), "--host", host, "--port", str(port), "--threads", "1"]
    return [sys.executable, "-m", "service", "serve", *options]


def free_port() -> int:
    """Return a port that no process listens on, on any address."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def succeeds(url: str) -> bool:
    """Return whether a GET of the address answers with a status of success."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def sample(url: str, name: str) -> float:
    """Return a sample of a page of metrics by its name and labels, 0 if it is not there."""
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)
