"""One request on its way through the engine.

asked      id, image, options, format, …          service/http/routes.py or service/cli/offline.py
admitted   arrived, cost, coarse_cost, max_side   Engine.answer, on the event loop
decoded    prepared, padded                       the pool
scheduled  since, due, begun, prediction, …       the scheduler; the work itself on the device's thread
answered   result, answer                         the pool
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from service.engine.batching import Reason, Unfinished
from service.engine.errors import DeadlinePassed, DeviceLost, Stopped
from service.output.encode import Answer

if TYPE_CHECKING:
    from model.predict.predictor import Prediction, Result

    from model.predict.instance import Prepared

__all__ = ["DeadlinePassed", "DeviceLost", "Stopped"]
Stage = Literal["decode", "queue", "coarse", "refine", "encode"]


@dataclass(eq=False)
class Request:
    """One request on its way through the engine.

    Whoever asks makes it with the first group of fields and gives it to `Engine.answer`; the others are filled in on
    the way and must not be read before. Times are the event loop's, in seconds.
    """

    # What was asked: by service/http/routes.py or service/cli/offline.py.
    id: str
    image: bytes = field(repr=False)
    options: Any = None  # of the chosen model's task: InstanceOptions, LabelMapOptions
    format: str = "rle"  # a name in service/output's table
    image_id: int = 0  # of format coco
    deadline_seconds: float | None = (
        None  # after its arrival; from then on the finest finished masks are answered
    )

    # Its place in admission: by Engine.answer.
    arrived: float = 0.0
    cost: float = 0.0  # predicted seconds of the device
    coarse_cost: float = 0.0  # predicted seconds of a coarse pass over this image alone
    max_side: int | None = None  # the side that its masks may have while the service is busy

    # The decoded image: in the pool.
    prepared: Prepared = field(init=False, repr=False)
    padded: tuple[int, int] = (0, 0)  # (height, width) of the network's input; equal ones may share a pass

    # Its way through the scheduler.
    stage: Stage = "decode"
    since: float = 0.0  # when it began to wait for a coarse pass
    due: float = 0.0  # requests are served in this order
    begun: float = 0.0  # when its coarse pass began
    passed: float = 0.0  # when its coarse pass ended
    rendered: float = 0.0  # when its last level was finished
    future: asyncio.Future[None] = field(init=False, repr=False)  # done when its renders are
    prediction: Prediction = field(init=False, repr=False)

    # What comes of it: in the pool.
    result: Result = field(init=False, repr=False)
    answer: Answer = field(init=False, repr=False)

    @property
    def deadline(self) -> float | None:
        """The time of its deadline, if it has one."""
        return None if self.deadline_seconds is None else self.arrived + self.deadline_seconds

    @property
    def width(self) -> int:
        """Width of the image as displayed."""
        return self.prepared.width

    @property
    def height(self) -> int:
        """Height of the image as displayed."""
        return self.prepared.height

    @property
    def degraded(self) -> bool:
        """Whether a mask is coarser than asked for because the service is busy, not because of the deadline."""
        most = self.max_side
        return most is not None and any(part.truncated and part.side >= most for part in self.result.parts)

    @property
    def truncated(self) -> bool:
        """Whether a mask is coarser than asked for, for whatever reason."""
        return any(part.truncated for part in self.result.parts)

    @property
    def stages(self) -> dict[str, float]:
        """The seconds of each stage before encoding.

        "coarse" is the whole batch's pass: that is how long each of its requests took. "refine" is from there to the
        request's last level, other requests' steps in between included.
        """
        return {
            "decode": self.since - self.arrived,
            "queue": self.begun - self.since,
            "coarse": self.passed - self.begun,
            "refine": self.rendered - self.passed,
        }


# What follows goes as soon as the scheduler works on requests.


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
