"""The service under attack: a process under a limit of memory, and perhaps of open files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.hostile.cage import Cage, Watch, limited
from bench.hostile.wire import Address

START_SECONDS = 120.0
END_SECONDS = 15.0


@dataclass(frozen=True)
class AttackedService:
    """A running service."""

    address: Address
    process: subprocess.Popen[bytes]
    cage: Cage | Watch
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it runs and says that it is healthy."""
        return self.process.poll() is None and _answers(self.address.url + "/healthz")

    def used(self) -> int:
        """Return the bytes of memory of its processes."""
        return self.cage.used(self.process.pid)


@contextmanager
def attacked(
    bundles: Sequence[Path],
    memory: int,
    files: int | None = None,
    settings: Mapping[str, object] | None = None,
    code: Path | None = None,
) -> Iterator[AttackedService]:
    """Run a service, ready, of the code in a folder (this one's, if None). Raises RuntimeError if it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    for bundle in bundles:
        command += ["--bundle", str(bundle.absolute())]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
    given = {f"POINTREND_{name.upper()}": str(value) for name, value in (settings or {}).items()}
    with limited(memory) as cage, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            # A session of its own, so that its processes can be ended with it.
            process = subprocess.Popen(
                cage.command(command),
                env=os.environ | given,
                stdout=output,
                stderr=output,
                cwd=code,
                start_new_session=True,
            )
        try:
            address = Address("127.0.0.1", port)
            deadline = time.monotonic() + START_SECONDS
            while not _answers(address.url + "/readyz"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the service does not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.2)
            yield AttackedService(address, process, cage, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(END_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10, trust_env=False).is_success
    except httpx.TransportError:
        return False
