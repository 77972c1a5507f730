"""How `serve` refuses an address, and how commands end when Ctrl-C comes early."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

import service.cli.commands as cli
from model.errors import UserError
from service.cli.address import check_address, check_closed
from tests.paths import ROOT


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_port_in_use_is_one_line_before_any_model_is_loaded(taken: int) -> None:
    done = CliRunner().invoke(cli.app, ["serve", "--bundle", "no_such_bundle", "--port", str(taken)])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: port: {taken} of 127.0.0.1 is in use: choose another, such as")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("no such host", "'no such host' is not an address"),
        ("192.0.2.1", "is not an address of this machine"),
    ],
)
def test_an_address_of_somebody_else(host: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_address(host, 0)


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UserError, match=r"no IPv6, so nothing can listen at ::: 0\.0\.0\.0 is all"):
        check_address("::", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::"])
def test_a_free_address(host: str) -> None:
    check_address(host, 0)


def test_ctrl_c_while_packages_are_imported_is_no_traceback() -> None:
    """The signal comes with the import of typer, which all commands need."""
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from service.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_on_this_machine_alone_no_key_is_needed(host: str) -> None:
    assert check_closed(host, "", has_keys=False) is None
    assert check_closed("0.0.0.0", host, has_keys=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "server.example"])
def test_where_others_may_come_in_without_a_key_it_is_said_loudly(host: str) -> None:
    warning = check_closed(host, "", has_keys=False)
    assert warning is not None and f"ANYBODY who reaches {host}" in warning
    assert check_closed(host, "", has_keys=True) is None


def test_a_container_that_is_opened_without_a_key_does_not_start() -> None:
    with pytest.raises(UserError, match=r"ADDRESS=192\.168\.0\.7 lets other machines in"):
        check_closed("0.0.0.0", "192.168.0.7", has_keys=False)
    assert check_closed("0.0.0.0", "192.168.0.7", has_keys=True) is None


@pytest.mark.parametrize("published_at", ["", "127.0.0.1"])
def test_a_token_is_lent_to_nobody_without_a_key(published_at: str) -> None:
    with pytest.raises(UserError, match=r"label_studio_url: anybody who reaches 0\.0\.0\.0"):
        check_closed("0.0.0.0", published_at, has_keys=False, lends_token=True)
    check_closed("0.0.0.0", published_at, has_keys=True, lends_token=True)
    check_closed("127.0.0.1", published_at, has_keys=False, lends_token=True)


def test_the_command_lends_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTREND_LABEL_STUDIO_URL", "http://studio.example")
    done = CliRunner().invoke(cli.app, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 2 and done.stderr.startswith("error: label_studio_url: anybody who reaches")


def test_the_command_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLISHED_AT", "")
    done = CliRunner().invoke(cli.app, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert "warning: ANYBODY who reaches 0.0.0.0" in done.stderr
    monkeypatch.setenv("PUBLISHED_AT", "0.0.0.0")
    done = CliRunner().invoke(cli.app, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 2 and done.stderr.startswith("error: ADDRESS=0.0.0.0")
