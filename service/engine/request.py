"""One request on its way through the engine.

asked      id, image, options, format, …          service/http/segment.py or service/cli/offline.py
admitted   arrived, cost, coarse_cost, max_side   Engine.answer, on the event loop
decoded    prepared, padded                       the pool
scheduled  since, due, begun, prediction, …       the scheduler; the work itself on the device's thread
answered   result, answer                         the pool
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from model.predict.predictor import Prediction, Prepared, Result
from service.output.encode import Answer

Stage = Literal["decode", "queue", "coarse", "refine", "encode"]


@dataclass(eq=False)
class Request:
    """One request on its way through the engine.

    The caller makes it with the first group of fields and gives it to `Engine.answer`. The others are filled in on the
    way and must not be read before. Times are the event loop's, in seconds.
    """

    # What was asked: by service/http/segment.py or service/cli/offline.py.
    id: str
    image: bytes = field(repr=False)
    options: Any = None  # of the chosen model's task: InstanceOptions, LabelMapOptions
    format: str = "rle"  # a name in service/output's table
    image_id: int = 0  # of format coco
    deadline_seconds: float | None = None  # after its arrival; then the finest finished masks are the answer

    # Its place in admission: by Engine.answer.
    arrived: float = 0.0
    cost: float = 0.0  # predicted seconds of the device
    coarse_cost: float = 0.0  # predicted seconds of a coarse pass over this image alone
    max_side: int | None = None  # the side that its masks may have while the service is busy

    # The decoded image: in the pool.
    width: int = 0  # of the image as displayed
    height: int = 0
    prepared: Prepared = field(init=False, repr=False)  # until the result is finished
    padded: tuple[int, int] = (0, 0)  # (height, width) of the network's input; equal ones may share a pass

    # Its way through the scheduler.
    stage: Stage = "decode"
    since: float = 0.0  # when it began to wait for a coarse pass
    due: float = 0.0  # requests are served in this order
    begun: float = 0.0  # when its coarse pass began
    passed: float = 0.0  # when its coarse pass ended
    rendered: float = 0.0  # when its last level was finished
    future: asyncio.Future[None] = field(init=False, repr=False)  # done when its renders are
    prediction: Prediction = field(init=False, repr=False)  # until the result is finished

    # What comes of it: in the pool.
    result: Result = field(init=False, repr=False)
    answer: Answer = field(init=False, repr=False)

    @property
    def deadline(self) -> float | None:
        """The time of its deadline, if it has one."""
        return None if self.deadline_seconds is None else self.arrived + self.deadline_seconds

    def finish(self) -> None:
        """Set the result, and let go of the maps that it was rendered from, which are views of its whole batch's."""
        self.result = self.prediction.finish()
        del self.prediction, self.prepared

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
