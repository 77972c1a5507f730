"""Format `rle`: COCO's compressed run lengths."""

from __future__ import annotations

from model.masks import rle
from model.masks.runs import Runs
from service.output import instances, segments
from service.output.format import Format
from service.output.limits import Allowance
from service.output.text import Text, object_text


def runs(counts: rle.Counts, width: int, height: int) -> Text:
    """Return run lengths as an object of COCO's, compressed into a text."""
    return object_text({"size": [height, width], "counts": rle.compress(counts)})


def mask(found: Runs, width: int, height: int, left: Allowance) -> Text:
    """Return a mask as an object of COCO's, compressed into a text."""
    return runs(rle.counts_of(found, width, height), width, height)


FORMAT = Format(
    "COCO run lengths, compressed",
    {"instance": instances.encoder(mask), "semantic": segments.encoder(runs)},
)
