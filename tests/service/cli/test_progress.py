"""The bar that a person sees who works through a folder."""

from __future__ import annotations

import io
import re
import sys

import pytest

from service.cli.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_many_are_done_and_how_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(3, "frames") as advance:
        for _ in range(3):
            advance()
        shown = sys.stderr.getvalue()
    assert "frames" in shown and re.search(r"3/3.* \d+\.\d frames/s", shown), shown


@pytest.mark.parametrize(("length", "stderr"), [(1, Terminal), (3, io.StringIO)])
def test_one_image_and_a_log_show_nothing(
    length: int, stderr: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr())
    with progress(length, "images") as advance:
        advance()
    assert sys.stderr.getvalue() == ""
