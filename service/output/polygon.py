"""Format `polygon`: COCO's polygons, which follow the edges of pixels."""

from __future__ import annotations

from model.masks.paste import Crop
from model.masks.polygon import polygons
from service.output import instances
from service.output.format import Format


def mask(crop: Crop, width: int, height: int) -> list[list[int]]:
    """Return the outlines of a mask, [[x0, y0, x1, y1, …], …] in image pixels, with holes cut in."""
    return polygons(crop)


FORMAT = Format("COCO polygons", {"instance": instances.encoder(mask)})
