"""The image's health check asks the server where it listens."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.docker.tools import DOCKER, free_port
from tests.service.support import Discs, disc_bundle, get, running, wait_for

SCRIPT = DOCKER / "healthcheck.sh"


def check(file: Path) -> tuple[int, str]:
    """Return the exit code of the check, and what it says."""
    environment = os.environ | {"POINTREND_ADDRESS_FILE": str(file)}
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_ready_or_not(tmp_path: Path) -> None:
    discs, file = Discs(), tmp_path / "address"
    with running(disc_bundle(discs), warm=False) as url:
        file.write_text(f"{url}\n")
        code, said = check(file)
        assert code == 1 and "503 Service Unavailable" in said and "not warmed up yet: discs" in said
        discs.gate.set()
        wait_for(lambda: get(f"{url}/readyz").is_success)
        assert check(file) == (0, "")


def test_nobody_is_there(tmp_path: Path) -> None:
    (tmp_path / "address").write_text(f"http://127.0.0.1:{free_port()}\n")
    code, said = check(tmp_path / "address")
    assert code == 1 and "Connection refused" in said


@contextmanager
def answering(address: str, answer: bytes) -> Iterator[str]:
    """The URL of a server that gives one answer, and closes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"\r\n\r\n"):
                    asked += connection.recv(1000)
                connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        host = f"[{address}]" if ":" in address else address
        yield f"http://{host}:{listening.getsockname()[1]}"
        thread.join(60)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_an_address_of_ipv6(tmp_path: Path) -> None:
    with answering("::1", b"HTTP/1.1 200 OK\r\n\r\n") as url:
        (tmp_path / "address").write_text(url)
        assert check(tmp_path / "address") == (0, "")


def test_no_answer_is_said(tmp_path: Path) -> None:
    with answering("127.0.0.1", b"") as url:
        (tmp_path / "address").write_text(url)
        assert check(tmp_path / "address") == (1, f"no answer from {url}\n")


def test_the_image_has_it() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    copied = re.findall(r"^COPY docker/healthcheck\.sh (\S+)$", text, re.M)
    (command,) = re.findall(r'^ *CMD \["(\S*healthcheck\.sh)"\]$', text, re.M)
    assert command == f"{copied[0]}healthcheck.sh"
    (file,) = re.findall(r"POINTREND_ADDRESS_FILE=(\S+)", text)
    assert file.startswith("/tmp/")  # where an unprivileged user may write, also on a read-only file system
    assert SCRIPT.stat().st_mode & 0o111
