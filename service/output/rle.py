"""Format `rle`: COCO's compressed run lengths."""

from __future__ import annotations

from model.masks import rle
from model.masks.paste import Crop
from service.output import instances, segments
from service.output.format import Format, Json


def runs(counts: rle.Counts, width: int, height: int) -> Json:
    """Return run lengths as an object of COCO's, compressed into a text."""
    return {"size": [height, width], "counts": rle.compress(counts)}


def mask(crop: Crop, width: int, height: int) -> Json:
    """Return a mask as an object of COCO's, compressed into a text."""
    return runs(rle.encode(crop, width, height), width, height)


FORMAT = Format(
    "COCO run lengths, compressed",
    {"instance": instances.encoder(mask), "semantic": segments.encoder(runs)},
)
