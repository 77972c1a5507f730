"""The work that a request for instance masks asks for: what is expected, and what is allowed at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from model.pointrend.levels import SIDES, native_side, total_work
from model.predict.instance import InstanceOptions
from model.predict.predictor import Prompt
from service.engine.errors import ParameterError
from service.engine.queue.cost import Mean
from service.output.cost import MaskShape
from service.output.limits import MAX_BOX_PIXELS

MAX_CELLS = 100 * SIDES[-1] ** 2  # of all masks of a request; they are kept until its answer: 321 MB
MIN_OVERLAP = 0.01  # pixels of a box inside the image; less is lost to rounding on the way to the network
USUAL_SIDE = 224  # that masks of native resolution are guessed to have before any was seen


def sides(options: InstanceOptions, detections: int) -> Counter[int]:
    """Return how many masks of each side a request asks for.

    Without given boxes that is `detections` masks (or `max_instances`, if that is less), of the largest side.
    """
    if options.prompts is None:
        side = SIDES[-1] if options.resolution == "native" else options.resolution
        return Counter({side: min(options.max_instances, detections)})
    if options.resolution != "native":
        return Counter({options.resolution: len(options.prompts)})
    boxes = (prompt.box for prompt in options.prompts)
    return Counter(native_side(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes)


@dataclass
class InstanceWork:
    """What requests of one model usually need, learned from what was detected in earlier images."""

    found: Mean = field(default_factory=lambda: Mean(4.0))  # instances of an image
    native: Mean = field(  # points of an instance of native resolution
        default_factory=lambda: Mean(float(total_work(USUAL_SIDE, None)))
    )

    def expected(self, options: InstanceOptions, max_side: int | None) -> float:
        """Return the work of a request in points, if the side of its masks is limited to `max_side`."""
        most = SIDES[-1] if max_side is None else max_side
        if options.prompts is not None:
            asked = sides(options, 0).items()
            return sum(count * total_work(min(side, most), options.points) for side, count in asked)
        return min(self.found.value, options.max_instances) * self._of_one(options, most)

    def shapes(self, options: InstanceOptions, width: int, height: int) -> list[MaskShape]:
        """Return the shapes of the masks that are expected in an image of this size."""
        if options.prompts is None:
            usual = MaskShape((0, 0, width / 2, height / 2), USUAL_SIDE)
            return [usual] * round(min(self.found.value, options.max_instances))
        return [
            MaskShape(box, native_side(box[2] - box[0], box[3] - box[1]))
            if options.resolution == "native"
            else MaskShape(box, options.resolution)
            for box in (prompt.box for prompt in options.prompts)
        ]

    def learn(self, options: InstanceOptions, work: Sequence[int]) -> None:
        """Take into account the work in points of each instance that was found in an image.

        Given boxes say nothing of what detection finds.
        """
        if options.prompts is not None:
            return
        self.found.add(len(work))
        if options.resolution == "native" and options.points is None and work:
            self.native.add(sum(work) / len(work))

    def _of_one(self, options: InstanceOptions, most: int) -> float:
        """Return the work of one detected instance in points."""
        if options.resolution != "native":
            return total_work(min(options.resolution, most), options.points)
        usual = self.native.value if options.points is None else total_work(USUAL_SIDE, options.points)
        return min(usual, total_work(most, options.points))


def check_boxes(prompts: Sequence[Prompt], width: int, height: int) -> None:
    """Raise ParameterError for the first box outside the image, or if boxes add up to too many of its pixels."""
    total = 0.0
    for number, prompt in enumerate(prompts, 1):
        x0, y0, x1, y1 = prompt.box
        inside = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
        total += inside[0] * inside[1]
        if min(inside) < MIN_OVERLAP:
            box = f"[{x0:g}, {y0:g}, {x1:g}, {y1:g}]"
            raise ParameterError("boxes", f"box {number}, {box}, is not within the {width} × {height} image")
    if total > MAX_BOX_PIXELS:
        raise ParameterError(
            "boxes",
            f"within the image they have {total:.0f} pixels together, and {MAX_BOX_PIXELS} are allowed: "
            "send fewer, smaller ones, or a smaller image",
        )


def check_work(options: InstanceOptions, max_detections: int, max_points: int) -> None:
    """Raise ParameterError if a request may need more work than `max_points`, or more than MAX_CELLS cells.

    Detections are counted at their most, given boxes as they are.
    """
    needed = sides(options, max_detections)
    fewer = "max_instances" if options.prompts is None else "the number of boxes"
    masks = f"up to {needed.total()} masks of side {max(needed, default=0)}"
    total = sum(count * total_work(side, options.points) for side, count in needed.items())
    if total > max_points:
        raise ParameterError(
            "points",
            f"{masks} may take the work of {total} points, and {max_points} are allowed: "
            f"lower points, resolution, or {fewer}",
        )
    cells = sum(count * side**2 for side, count in needed.items())
    if cells > MAX_CELLS:
        raise ParameterError(
            "resolution",
            f"{masks} may have {cells} cells, and {MAX_CELLS} are allowed in all: lower resolution, or {fewer}",
        )
