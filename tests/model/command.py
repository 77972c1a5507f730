"""`python -m model` run in the process of the test."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from typing import NamedTuple
from unittest.mock import patch


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a command that was used wrongly."""
        assert self.code == 2 and self.err.count("\n") == 1, self
        return self.err.rstrip("\n")

    @property
    def failure(self) -> str:
        """The one line of a command that failed, though it was used rightly."""
        assert self.code == 1 and self.err.count("\n") == 1, self
        return self.err.rstrip("\n")


def run(*arguments: object) -> Ended:
    """Run a command with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.object(sys, "argv", ["model", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        sys.modules.pop(
            "model.__main__", None
        )  # another test may have imported it, about which runpy would warn
        try:
            runpy.run_module("model", run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())
