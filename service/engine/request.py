"""One request on its way through the engine.

asked      id, image, options, format, …          service/http/segment.py or service/cli/offline.py
admitted   model, width, padded, cost, due, …     Engine.answer, on the event loop, from the image's header
decoded    prepared                               a process that decodes (service/decoding)
scheduled  since, begun, prediction, …            the scheduler; the work itself on the device's thread
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

    # What it will take, from the header of its image: by Engine.answer.
    model: str = ""  # the name of the model that is asked
    arrived: float = 0.0
    width: int = 0  # of the image as displayed
    height: int = 0
    padded: tuple[int, int] = (0, 0)  # (height, width) of the network's input; equal ones may share a pass
    cost: float = 0.0  # predicted seconds until its answer, if it were alone
    least_cost: float = 0.0  # the same on a machine that has nothing else to do
    coarse_cost: float = 0.0  # predicted seconds of a coarse pass over this image alone
    maps_bytes: int = 0  # of the maps that the coarse pass gives for this image
    max_side: int | None = None  # the side that its masks may have while the service is busy
    due: float = 0.0  # requests are decoded, served and encoded in this order

    # Its way through the scheduler.
    prepared: Prepared = field(init=False, repr=False)  # from decoding until the result is finished
    stage: Stage = "decode"
    since: float = 0.0  # when it began to wait for a coarse pass
    begun: float = 0.0  # when its coarse pass began
    passed: float = 0.0  # when its coarse pass ended
    rendered: float = 0.0  # when its last level was finished
    held_bytes: int = 0  # of the budget for rendering
    rendering: bool = False  # whether held_bytes include its masks
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
