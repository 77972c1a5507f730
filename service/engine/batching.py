"""Which waiting requests share a coarse pass, and which renders share a step: pure choices, no clock, no thread.

Everything waits for one device. Work is done in the order of the time it is `due`: a request's arrival plus a
multiple of what it will cost. So a small request passes a large one that came a little earlier, and a
large one that has waited in proportion to its size passes the small ones that come later: nothing starves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

Reason = Literal["full", "idle", "time"]


@dataclass(frozen=True)
class Limits:
    max_wait: float  # s, for company
    pixels: int  # padded, of a batch; one item is always allowed
    points: int  # of a step of the renderer; one render is always allowed
    stretch: float = 8.0  # times its cost that a request may wait before smaller ones stop passing it


class Waiting(Protocol):
    """A request that waits for a coarse pass."""

    @property
    def padded(self) -> tuple[int, int]: ...  # (height, width): only equal ones may share a pass
    @property
    def since(self) -> float: ...  # s, when it began to wait
    @property
    def due(self) -> float: ...  # s


class Unfinished(Protocol):
    """A render."""

    @property
    def done(self) -> bool: ...
    def next_level(self) -> tuple[int, int]: ...  # side, and the next step's work, in points


E = TypeVar("E", bound=Waiting)
R = TypeVar("R", bound=Unfinished)


@dataclass(frozen=True)
class Batch(Generic[E]):
    """`reason`: why it is not larger. full: no room; idle: nobody is coming; time: the first has waited enough."""

    entries: tuple[E, ...]
    reason: Reason


def form(waiting: Iterable[E], limits: Limits, now: float, coming: int) -> Batch[E] | None:
    """The batch of whoever is due first, or None while it is worth waiting.

    `coming`: how many requests will soon wait, too (they are being decoded).
    """
    order = sorted(waiting, key=lambda e: e.due)
    if not order:
        return None
    first = order[0]
    capacity = max(1, limits.pixels // math.prod(first.padded))
    entries = tuple([e for e in order if e.padded == first.padded][:capacity])
    if len(entries) == capacity:
        return Batch(entries, "full")
    if not coming:
        return Batch(entries, "idle")
    if now >= ripe(order, limits):
        return Batch(entries, "time")
    return None


def ripe(waiting: Sequence[Waiting], limits: Limits) -> float:
    """When the one that is due first has waited enough, s."""
    return min(waiting, key=lambda e: e.due).since + limits.max_wait


def step(renders: Iterable[R], limits: Limits) -> list[R]:
    """Of renders that are not done, in the given order, those whose next levels stay within the limit of points."""
    chosen: list[R] = []
    total = 0
    for render in renders:
        total += render.next_level()[1]
        if chosen and total > limits.points:
            break
        chosen.append(render)
    return chosen
