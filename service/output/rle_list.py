"""Format `rle_list`: COCO's run lengths as a list of numbers."""

from __future__ import annotations

from model.masks import rle
from model.masks.paste import Crop
from service.output import instances, segments
from service.output.format import Format, Json


def runs(counts: rle.Counts, width: int, height: int) -> Json:
    """Return run lengths as an object of COCO's with its numbers."""
    return {"size": [height, width], "counts": counts.tolist()}


def mask(crop: Crop, width: int, height: int) -> Json:
    """Return a mask as an object of COCO's with its numbers."""
    return runs(rle.encode(crop, width, height), width, height)


FORMAT = Format(
    "COCO run lengths, uncompressed",
    {"instance": instances.encoder(mask), "semantic": segments.encoder(runs)},
)
