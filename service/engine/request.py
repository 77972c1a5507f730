"""What a scheduler is given, told and asked: its contracts with the model and with whoever waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from service.engine.batching import Reason, Unfinished

Stage = Literal["queue", "coarse", "refine"]


class DeadlinePassed(Exception):
    """Not even a coarse mask was ready in time."""


class Stopped(RuntimeError):
    """The scheduler, or the device's thread, has ended; what it had is lost."""


class DeviceLost(Stopped):
    """The device's thread ended in the middle of this, or this ended it."""


class Piece(Unfinished, Protocol):
    def limit(self, side: int) -> None: ...


Item = TypeVar("Item")
P = TypeVar("P", bound=Piece)
Item_contra = TypeVar("Item_contra", contravariant=True)


class Model(Protocol[Item_contra, P]):
    """What the device does; both run on its thread."""

    def begin(self, items: Sequence[Item_contra]) -> Sequence[Sequence[P]]:
        """A coarse pass over items of equal padded size: the renders of each."""
        ...

    def advance(self, pieces: Sequence[P]) -> None:
        """A step further for each, at most a level; none is done."""
        ...

    def release(self) -> None:
        """Give back memory that is only kept for speed; called when the device has no more."""
        ...


class Observer(Protocol[Item_contra]):
    """Told what happened, on the event loop."""

    def passed(
        self, items: Sequence[Item_contra], padded: tuple[int, int], reason: Reason, seconds: float
    ) -> None: ...
    def advanced(self, points: Mapping[int, int], seconds: float) -> None: ...  # by side
    def left(self, stage: Stage) -> None: ...


@dataclass(frozen=True)
class Wish:
    """How a request wants to be served. Times are the event loop's, in seconds."""

    padded: tuple[int, int]  # (height, width)
    cost: float  # predicted, s
    deadline: float | None = None  # be done with what there is
    at_most: int | None = None  # the side that its renders may have
    coarse: float = 0.0  # predicted, s, of a pass over it alone


@dataclass(frozen=True)
class Done(Generic[P]):
    """A request's renders. Seconds: waiting for a pass, its batch's whole pass, and from there to the last level."""

    pieces: Sequence[P]
    queue: float
    coarse: float
    refine: float
