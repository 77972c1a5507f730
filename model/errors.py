"""The base of every error that a person at a command line can do something about."""

from __future__ import annotations

import re


class UserError(ValueError):
    """Something that was given cannot be used; the message is one line that says what and why.

    Options, files and data that are wrong raise this or a subclass. A plain ValueError or RuntimeError is a bug.
    """


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def reason(error: BaseException) -> str:
    """Return why something failed, in one line: without an error's number, colours, and a file name in quotes."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    return _COLOUR.sub("", str(error)).strip().partition("\n")[0] or type(error).__name__
