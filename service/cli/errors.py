"""How the commands of the service end when something goes wrong: with one line that says why, and an exit code.

0 done; 1 it failed, or some images of a folder were skipped, or requests were lost; 2 wrong use; 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from model.command_line import one_line_errors
from model.errors import UserError
from model.predict.image_errors import ImageError

EXPECTED = (UserError, OSError, ImageError)  # all other errors are bugs, or failures of a library


class Failed(OSError):
    """A server does not do its part for one file; the message says what."""


class ServerLost(Failed):
    """A server answers no more, so there is no use in asking it about other files."""


def needs_client() -> AbstractContextManager[None]:
    """Return a context that raises UserError if an import in it fails because httpx is missing."""
    return _needs("client", "httpx")


def needs_video() -> AbstractContextManager[None]:
    """Return a context that raises UserError if an import in it fails because PyAV is missing."""
    return _needs("video", "av")


@contextmanager
def _needs(extra: str, package: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UserError(
            f"this needs the extra `{extra}`: in the repository, .venv/bin/pip install -e '.[{extra}]'"
        ) from error


def expected_errors() -> AbstractContextManager[None]:
    """Return a context that ends the process with one line and an exit code if something raises in it."""
    return one_line_errors(wrong_use=(ImageError,))
