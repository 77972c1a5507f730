"""How command lines end: a mistake in one line, a bug in another that keeps the traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from model.command_line import DEBUG, one_line_errors
from model.errors import UserError


class Busy(Exception):
    """An error that one command expects."""


class Unreadable(Exception):
    """An error that one command expects, and for which what it was given is to blame."""


def said(error: BaseException, capsys: pytest.CaptureFixture[str], exit_code: int = 1) -> str:
    """Return the one line that a command ends with."""
    with pytest.raises(SystemExit) as ended, one_line_errors(Busy, wrong_use=(Unreadable,)):
        raise error
    assert ended.value.code == exit_code
    line, rest = capsys.readouterr().err.split("\n", 1)
    assert not rest
    return line


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(DEBUG, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (UserError("no such preset"), 2),
        (FileNotFoundError("no file"), 2),
        (Unreadable("no image"), 2),
        (Busy("busy"), 1),
        (OSError("the disk is full"), 1),
    ],
)
def test_an_expected_error_is_its_message(
    error: Exception, exit_code: int, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong use ends with 2, a failure with 1."""
    assert said(error, capsys, exit_code) == f"error: {error}"
    assert not list(temporary.iterdir())


def test_a_file_s_error_is_said_in_words(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        (temporary / "a.json").read_text()
    assert said(missing.value, capsys, 2) == f"error: {temporary / 'a.json'}: no such file or directory"
    assert said(OSError(28, "No space left on device"), capsys) == "error: no space left on device"


def test_an_interruption_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(KeyboardInterrupt(), capsys, 130) == "interrupted"


@pytest.mark.parametrize("error", [ValueError("shapes\ndiffer"), RuntimeError("x"), KeyError("k")])
def test_anything_else_does_not_look_like_a_mistake_and_keeps_its_traceback(
    error: Exception, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(error, capsys)
    (kept,) = temporary.iterdir()
    assert line.startswith(f"internal error: {type(error).__name__}: ") and line.endswith(str(kept))
    assert "Traceback" in kept.read_text() and "raise error" in kept.read_text()


def test_without_room_for_a_traceback_it_says_how_to_see_it(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "nowhere"))
    assert said(RuntimeError("x"), capsys).endswith(f"{DEBUG}=1 shows the traceback")


@pytest.mark.parametrize("error", [UserError("no"), RuntimeError("x")])
def test_debugging_shows_every_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_an_end_that_was_asked_for_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise SystemExit(130)
    assert ended.value.code == 130 and not capsys.readouterr().err
