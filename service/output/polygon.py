"""Format `polygon`: COCO's polygons, which follow the edges of pixels."""

from __future__ import annotations

from model.masks.polygon import polygons
from model.masks.runs import Runs
from service.output import instances
from service.output.format import Format
from service.output.limits import Allowance
from service.output.text import Text, lists_text


def mask(runs: Runs, width: int, height: int, left: Allowance) -> Text:
    """Return the outlines of a mask, [[x0, y0, x1, y1, …], …] in image pixels, with holes cut in."""
    outlines = polygons(runs, left.check, left.corners)
    left.corners -= len(outlines.points)
    return lists_text(outlines.points.reshape(-1), [2 * stop for stop in outlines.stops])


FORMAT = Format("COCO polygons", {"instance": instances.encoder(mask)})
