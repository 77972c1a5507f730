"""Where the server listens, and how it says so."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.http.wire.listening import dual_stack, own_address, plain, tell_address
from tests.service.support import PATIENCE, get, wait_for

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize(
    ("client", "known"),
    [
        (("::ffff:192.0.2.7", 80), ("192.0.2.7", 80)),
        (("2001:db8::7", 80), ("2001:db8::7", 80)),
        (("192.0.2.7", 80), ("192.0.2.7", 80)),
        (None, None),
    ],
)
def test_a_client_has_the_address_that_it_knows(
    client: tuple[str, int] | None, known: tuple[str, int] | None
) -> None:
    assert plain(client) == known


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "0.0.0.0"])
def test_the_address_for_this_machine(host: str) -> None:
    with socket.create_server((host, 0)) as listening:
        own = "127.0.0.1" if host == "0.0.0.0" else host
        assert own_address(listening) == f"http://{own}:{listening.getsockname()[1]}"


@needs_ipv6
def test_an_address_of_ipv6_has_brackets() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        assert own_address(listening) == f"http://[::1]:{listening.getsockname()[1]}"


@needs_ipv6
def test_one_socket_is_reached_over_both() -> None:
    with closing(dual_stack(0)) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        assert own_address(listening) == f"http://127.0.0.1:{port}"
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=10).close()
        with pytest.raises(OSError):
            dual_stack(port)


def test_an_address_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tell_address(tmp_path / "nowhere/address", listening)
    assert "cannot be written, so health checks fail: No such file or directory" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


@needs_ipv6
def test_the_server_on_all_addresses(exported: Callable[[str], Path], tmp_path: Path) -> None:
    """It tells its address, and names clients of IPv4 as they are, also to whom it trusts."""
    file, log = tmp_path / "address", tmp_path / "log"
    command = [sys.executable, "-m", "service", "serve", "--bundle", str(exported("tiny_r50"))]
    command += ["--host", "::", "--port", "0", "--threads", "1"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"POINTREND_ADDRESS_FILE": str(file)},
        )
    try:
        wait_for(lambda: file.exists() and file.read_text().endswith("\n"), 5 * PATIENCE)
        url = file.read_text().strip()
        port = url.rpartition(":")[2]
        assert url == f"http://127.0.0.1:{port}"
        for address in (url, f"http://[::1]:{port}"):
            assert get(f"{address}/models").is_success
            headers = {"x-forwarded-for": "192.0.2.7"}
            assert httpx.get(f"{address}/models", headers=headers, timeout=60).is_success
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [entry["client"] for entry in entries] == ["127.0.0.1", "192.0.2.7", "::1", "192.0.2.7"]
