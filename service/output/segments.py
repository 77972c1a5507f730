"""Label maps as JSON: a segment for each class that occurs, for all formats that differ only in how they write runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from model.masks import rle
from model.masks.palette import VOID
from service.output.format import Encoder, Found, Json

if TYPE_CHECKING:
    from model.predict.label_map import LabelMap

# Writes down the run lengths of a mask in an image of the given width and height.
WriteRuns = Callable[[rle.Counts, int, int], Any]


def encoder(write: WriteRuns) -> Encoder:
    """Return the encoder of an enveloped format that writes each segment's run lengths with `write`."""

    def encode(found: Found, abandoned: threading.Event) -> Json:
        label_map = cast("LabelMap", found.result)
        runs = rle.encode_labels(label_map.labels(found.height, found.width))
        segments = [
            {
                "category_id": found.categories[label].id,
                "category": found.categories[label].name,
                "area": rle.area(counts),
                "segmentation": write(counts, found.width, found.height),
            }
            for label, counts in runs.items()
            if label != VOID
        ]
        return {
            "resolution": label_map.side,
            "points": "auto" if label_map.points is None else label_map.points,
            "truncated": label_map.truncated,
            "segments": segments,
        }

    return encode
