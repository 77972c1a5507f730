"""Progress bars, for a person who watches: none where stderr is a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T],
    text: str | None = None,
    *,
    unit: str = "it",
    delay: float = 0,
    leave: bool | None = True,
    done: int = 0,
    total: int | None = None,
    silent: bool = False,
) -> tqdm[T]:
    """Return the same items under a bar on a terminal; the bar shows up after `delay` seconds.

    The finished bar stays on screen if `leave` is true; with None, only if no other bar stands above it. `done` of
    `total` items were finished earlier.
    """
    return tqdm(
        items,
        text,
        total,
        unit=unit,
        delay=delay,
        leave=leave,
        initial=done,
        disable=True if silent else None,  # None is tqdm's word for "only on a terminal"
    )
