"""How the command lines of this project end when something goes wrong.

An expected error ends in one line, "error: …": a `UserError` (what was given cannot be used), an `OSError` (a file or
the network), and the exceptions that a command names as its own. Every other exception is a bug or a failure of a
library. It ends in one line as well, "internal error: …", which never looks like the user's mistake, and its
traceback is kept in a file that the line names. With POINTREND_DEBUG=1 in the environment tracebacks of both kinds
are shown instead.

Exit codes: 0 done; 1 it failed; 2 wrong use: what was given cannot be used, or is not there; 130 interrupted.
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
INTERRUPTED = 130  # as shells say of a process that Ctrl-C ended
_WRONG_USE = (UserError, FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError)


@contextmanager
def one_line_errors(
    *expected: type[Exception], wrong_use: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """End the process with one line on stderr if the block raises.

    `expected`: further exceptions that end in "error: …" with exit code 1. `wrong_use`: further exceptions that end in
    "error: …" with exit code 2, because the input caused them.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get(DEBUG, "") not in ("", "0"):
            raise
        print(message(error, (UserError, OSError, *expected, *wrong_use)), file=sys.stderr)
        sys.exit(2 if isinstance(error, (*_WRONG_USE, *wrong_use)) else 1)


def message(error: Exception, expected: tuple[type[Exception], ...]) -> str:
    """Return what a command line says of an error; keeps the traceback of an unexpected one in a file."""
    if isinstance(error, expected):
        return f"error: {in_words(error)}"
    first = str(error).partition("\n")[0]
    kept = _keep_traceback(error)
    where = f"the traceback is in {kept}" if kept else f"{DEBUG}=1 shows the traceback"
    return f"internal error: {type(error).__name__}: {first}; this is not a mistake of yours, {where}"


def in_words(error: Exception) -> str:
    """Return an error's message; that of a file or the network without Python's numbers and quotes."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    names = " → ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    words = (
        error.strerror if error.strerror[:2].isupper() else error.strerror[:1].lower() + error.strerror[1:]
    )
    return f"{names}: {words}" if names else words


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
