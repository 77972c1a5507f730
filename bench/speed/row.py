"""One comparison of a table of speeds, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.markdown import table

HEADER = ("what", "ours", "against", "that", "ratio")
NOTABLE = 0.15  # a change of a ratio that is more than noise


@dataclass(frozen=True)
class Row:
    """One comparison: the seconds that ours takes, and those of what it is compared with."""

    what: str
    ours: float
    against: str
    theirs: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        return (
            self.what,
            f"{self.ours * 1e3:.1f} ms",
            self.against,
            f"{self.theirs * 1e3:.1f} ms",
            f"{self.ratio:.2f}",
        )

    @property
    def ratio(self) -> float:
        """The time of ours over that of the other."""
        return self.ours / self.theirs


def in_turns(works: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Return the median duration of each work, after one run of each to warm up.

    They take turns, so that a machine that is busy for a while slows all of them alike.
    """
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(own)) for name, own in times.items()}


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of docs/speed.md."""
    return table(HEADER, [row.cells for row in rows])


def changes(before: Sequence[Row], now: Sequence[Row]) -> str:
    """Return a table of the ratios that changed by more than NOTABLE, or a line that says that none did."""
    known = {(row.what, row.against): row for row in before}
    lines = []
    for row in now:
        old = known.get((row.what, row.against))
        if old is not None and abs(row.ratio / old.ratio - 1) > NOTABLE:
            change = f"{row.ratio / old.ratio - 1:+.0%}"
            lines.append((row.what, row.against, f"{old.ratio:.3f}", f"{row.ratio:.3f}", change))
    if not lines:
        return f"no ratio changed by more than {NOTABLE:.0%}"
    return table(("what", "against", "ratio before", "ratio now", "change"), lines)
