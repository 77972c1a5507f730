"""How the commands of the service end when something goes wrong: with exit code 2, and one line that says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from model.command_line import one_line_errors
from model.errors import UserError
from model.predict.image_errors import ImageError

EXPECTED = (UserError, OSError, ImageError)  # all other errors are bugs, or failures of a library


@contextmanager
def needs_client() -> Iterator[None]:
    """Raise UserError if an import in this context fails because httpx is missing, which a server does not need."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise UserError(
            "this needs the extra `client`: in the repository, .venv/bin/pip install -e '.[client]'"
        ) from error


def expected_errors() -> AbstractContextManager[None]:
    """Return a context that ends the process with exit code 2 and one line if something raises in it."""
    return one_line_errors(*EXPECTED, exit_code=2)
