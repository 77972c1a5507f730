"""A bar that shows how many of several images are done, and how many are done in a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


@contextmanager
def progress(length: int, unit: str) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal's standard error; yield the function to call after each. `unit`: what they are."""
    hidden = length == 1 or not sys.stderr.isatty()
    if hidden:
        yield lambda: None
        return
    begun, done = time.monotonic(), 0

    def pace(_: object) -> str | None:
        return f"{done / max(time.monotonic() - begun, 1e-3):.1f} {unit}/s" if done else None

    with typer.progressbar(
        length=length, label=unit, file=sys.stderr, show_pos=True, item_show_func=pace
    ) as bar:

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(1)

        yield advance
