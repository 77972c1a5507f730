"""One request on its way through the engine.

asked      id, image or picture, options, format, …          service/http/routes or service/cli/offline.py
admitted   model, width, padded, cost, due, …     Engine.answer, on the event loop, from the image's header
decoded    prepared                               a process that decodes (service/decoding)
scheduled  since, begun, prediction, …            the scheduler; the work itself on the device's thread
answered   result, answer                         the pool
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from model.predict.headers.georeference import Georeference
from model.predict.instance import Instances
from model.predict.kept.picture import KeptPicture
from model.predict.predictor import Prediction, Prepared, Result
from service.decoding.job import Job
from service.engine.errors import ParameterError
from service.engine.kept import Keep
from service.engine.levels import MORE_MEMORY, Levels
from service.output.encode import Answer
from service.output.format import TagNames

Stage = Literal["decode", "queue", "coarse", "refine", "encode"]


@dataclass(eq=False)
class Request:
    """One request on its way through the engine.

    The caller makes it with the first group of fields and gives it to `Engine.answer`. The others are filled in on the
    way and must not be read before. Times are the event loop's, in seconds.
    """

    # What was asked: by service/http/routes or service/cli/offline.py.
    id: str
    image: bytes = field(repr=False)
    # InstanceOptions or LabelMapOptions, by the model's task; those of a window if one is asked for.
    options: Any = None
    format: str = "rle"  # a name in service/output's table
    image_id: int = 0  # of format coco
    instance: int | None = None  # of format cutout: the only one that is shown; None: all
    crop: bool = False  # of format cutout: to what is shown
    tags: TagNames = field(default_factory=TagNames)  # of the formats of Label Studio
    deadline_seconds: float | None = None  # after its arrival; then the finest finished masks are the answer
    keep: Keep | None = None  # the picture after its answer, so that more can be asked of it
    # A kept one that is asked about instead of an image: its boxes are to be segmented, or a window to be rendered.
    picture: KeptPicture | None = field(default=None, repr=False)
    window: bool = False
    levels: Levels | None = None  # gets each level that is finished before the answer, if it is to be shown

    # What it will take, from the header of its image: by Engine.answer.
    model: str = ""  # the name of the model that is asked
    arrived: float = 0.0
    width: int = 0  # of the image as displayed
    height: int = 0
    georeference: Georeference | None = (
        None  # where it lies on a map, if the format asks for this or it is kept
    )
    padded: tuple[int, int] = (0, 0)  # (height, width) of the network's input; equal ones may share a pass
    cost: float = 0.0  # predicted seconds until its answer, if it were alone
    least_cost: float = 0.0  # the same on a machine that has nothing else to do
    coarse_cost: float = 0.0  # predicted seconds of a coarse pass over this image alone
    maps_bytes: int = 0  # of the maps that the coarse pass gives for this image
    max_side: int | None = None  # the side that its masks may have while the service is busy
    whole: Job | None = None  # how the image is decoded in its own size, if the format needs that
    due: float = 0.0  # requests are decoded, served and encoded in this order

    # Its way through the scheduler.
    prepared: Prepared = field(init=False, repr=False)  # from decoding until the result is finished
    stage: Stage = "decode"
    since: float = 0.0  # when it began to wait for a coarse pass
    begun: float = 0.0  # when its coarse pass began
    # When the separate detector was done, on time.monotonic's clock as all times.
    detected: float | None = None
    passed: float = 0.0  # when its coarse pass ended
    rendered: float = 0.0  # when its last level was finished
    held_bytes: int = 0  # of the budget for rendering
    rendering: bool = False  # whether held_bytes include its masks
    future: asyncio.Future[None] = field(init=False, repr=False)  # done when its renders are
    prediction: Prediction = field(init=False, repr=False)  # until the result is finished

    # What comes of it: in the pool.
    kept: str | None = None  # the id under which its picture is kept
    result: Result = field(init=False, repr=False)
    answer: Answer = field(init=False, repr=False)

    @property
    def masks_bytes(self) -> int:
        """The bytes that its masks take once they are rendered, after its coarse pass."""
        count = sum(render.memory for render in self.prediction.renders)
        return count if self.levels is None else int(MORE_MEMORY * count)

    @property
    def deadline(self) -> float | None:
        """The time of its deadline, if it has one."""
        return None if self.deadline_seconds is None else self.arrived + self.deadline_seconds

    def finish(self) -> None:
        """Set the result, and let go of the maps that it was rendered from, which are views of its whole batch's.

        Raise ParameterError if the only instance that is asked for is none of those that were found.
        """
        result = self.prediction.finish()
        del self.prediction
        if not self.window:
            del self.prepared
        self.result = result if self.instance is None else _only(result, self.instance)

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

        "coarse" is the whole batch's pass: that is how long each of its requests took. So is "detector", which only
        models with a detector of their own have. "refine" is from there to the request's last level, other requests'
        steps in between included.
        """
        found = self.begun if self.detected is None else self.detected
        return {
            "decode": self.since - self.arrived,
            "queue": self.begun - self.since,
            **({} if self.detected is None else {"detector": found - self.begun}),
            "coarse": self.passed - found,
            "refine": self.rendered - self.passed,
        }


def _only(result: Result, index: int) -> Instances:
    """Return one of the instances that were found. Raise ParameterError that says which there are."""
    masks = cast(Instances, result).masks
    if index >= len(masks):
        allowed = f"0 to {len(masks) - 1} are allowed" if masks else "there is none to choose"
        found = f"{len(masks)} instance{'' if len(masks) == 1 else 's'}"
        raise ParameterError("instance", f"the answer has {found}, so {allowed}, got {index}")
    return Instances((masks[index],))
