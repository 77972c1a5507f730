"""How the command lines of this project end when something goes wrong.

An expected error ends in one line, "error: …": a `UserError` (what was given cannot be used), an `OSError` (a file or
the network), and the exceptions that a command names as its own. Every other exception is a bug or a failure of a
library. It ends in one line as well, "internal error: …", which never looks like the user's mistake, and its
traceback is kept in a file that the line names. With POINTREND_DEBUG=1 in the environment tracebacks of both kinds
are shown instead.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import UserError

DEBUG = "POINTREND_DEBUG"


@contextmanager
def one_line_errors(*expected: type[Exception], exit_code: int = 1) -> Iterator[None]:
    """End the process with one line on stderr and `exit_code` if the block raises; `expected` are errors of its own."""
    try:
        yield
    except Exception as error:
        if os.environ.get(DEBUG, "") not in ("", "0"):
            raise
        print(message(error, (UserError, OSError, *expected)), file=sys.stderr)
        sys.exit(exit_code)


def message(error: Exception, expected: tuple[type[Exception], ...]) -> str:
    """Return what a command line says of an error; keeps the traceback of an unexpected one in a file."""
    if isinstance(error, expected):
        return f"error: {error}"
    first = str(error).partition("\n")[0]
    kept = _keep_traceback(error)
    where = f"the traceback is in {kept}" if kept else f"{DEBUG}=1 shows the traceback"
    return f"internal error: {type(error).__name__}: {first}; this is not a mistake of yours, {where}"


def _keep_traceback(error: Exception) -> Path | None:
    """Write the traceback to a new file; None if there is no room for it."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="pointrend-", suffix=".traceback.txt", delete=False, encoding="utf-8"
        ) as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return Path(file.name)
