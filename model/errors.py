"""The base of every error that a person at a command line can do something about."""

from __future__ import annotations


class UserError(ValueError):
    """Something that was given cannot be used; the message is one line that says what and why.

    Options, files and data that are wrong raise this or a subclass. A plain ValueError or RuntimeError is a bug.
    """
