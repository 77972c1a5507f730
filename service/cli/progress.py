"""A bar that shows how many of several images are done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


@contextmanager
def progress(length: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal's standard error; yield the function to call after each image."""
    hidden = length == 1 or not sys.stderr.isatty()
    if hidden:
        yield lambda: None
        return
    with typer.progressbar(length=length, label="images", file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)
