"""What a request may cost at most: what is above is refused before anything is computed for it."""

from __future__ import annotations

from collections.abc import Sequence

from model.pointrend.render import SIDES, total_work
from model.predict.instance import InstanceOptions, Prompt
from service.engine.cost import sides
from service.engine.errors import ParameterError

# Of all boxes' areas within the image; pasting and encoding takes 5 to 20 ns for one.
MAX_BOX_PIXELS = 500_000_000
MAX_CELLS = 100 * SIDES[-1] ** 2  # of all masks together, which are kept until the answer: 321 MB
LEAST_OVERLAP = 0.01  # pixels of a box inside the image; less is lost to rounding on the way to the network


def check_boxes(prompts: Sequence[Prompt], width: int, height: int) -> None:
    """Raises ParameterError for the first box that misses the image, or if they add up to too many of its pixels."""
    total = 0.0
    for number, prompt in enumerate(prompts, 1):
        x0, y0, x1, y1 = prompt.box
        inside = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
        total += inside[0] * inside[1]
        if min(inside) < LEAST_OVERLAP:
            box = f"[{x0:g}, {y0:g}, {x1:g}, {y1:g}]"
            raise ParameterError("boxes", f"box {number}, {box}, is not within the {width} × {height} image")
    if total > MAX_BOX_PIXELS:
        raise ParameterError(
            "boxes",
            f"within the image they have {total:.0f} pixels together, and {MAX_BOX_PIXELS} are allowed: "
            "send fewer, smaller ones, or a smaller image",
        )


def check_cost(options: InstanceOptions, max_detections: int, limit: int) -> None:
    """Raises ParameterError if the request may need more work than `limit` points, or more than MAX_CELLS.

    Detections are counted at their most, boxes as they are.
    """
    needed = sides(options, max_detections)
    fewer = "max_instances" if options.prompts is None else "the number of boxes"
    masks = f"up to {needed.total()} masks of side {max(needed, default=0)}"
    if (total := sum(count * total_work(side, options.points) for side, count in needed.items())) > limit:
        raise ParameterError(
            "points",
            f"{masks} may take the work of {total} points, and {limit} are allowed: "
            f"lower points, resolution, or {fewer}",
        )
    if (cells := sum(count * side**2 for side, count in needed.items())) > MAX_CELLS:
        raise ParameterError(
            "resolution",
            f"{masks} may have {cells} cells, and {MAX_CELLS} are allowed in all: lower resolution, or {fewer}",
        )


def check_points(total: int, size: tuple[int, int], limit: int) -> None:
    """Raises ParameterError if a label map (height, width) takes more than `limit` points."""
    if total > limit:
        height, width = size
        raise ParameterError(
            "points",
            f"a label map of {width}×{height} may take {total} points, and {limit} are allowed: "
            "lower points or resolution",
        )
