"""Format `rle_list`: COCO's run lengths as a list of numbers."""

from __future__ import annotations

from model.masks import rle
from model.masks.runs import Runs
from service.output import instances, segments
from service.output.format import Format
from service.output.limits import Allowance
from service.output.text import Text, numbers_text, object_text


def runs(counts: rle.Counts, width: int, height: int) -> Text:
    """Return run lengths as an object of COCO's with its numbers."""
    return object_text({"size": [height, width], "counts": numbers_text(counts)})


def mask(found: Runs, width: int, height: int, left: Allowance) -> Text:
    """Return a mask as an object of COCO's with its numbers."""
    return runs(rle.counts_of(found, width, height), width, height)


FORMAT = Format(
    "COCO run lengths, uncompressed",
    {"instance": instances.encoder(mask), "semantic": segments.encoder(runs)},
)
