"""Label maps as JSON: a segment for each class that occurs, for all formats that differ only in how they write runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from model.masks import rle
from model.masks.palette import VOID
from service.output.format import Encoder, Found
from service.output.limits import Allowance
from service.output.text import Text, array_text, object_text

if TYPE_CHECKING:
    from model.predict.label_map import LabelMap

# Writes down the run lengths of a mask in an image of the given width and height.
WriteRuns = Callable[[rle.Counts, int, int], Text]


def encoder(write: WriteRuns) -> Encoder:
    """Return the encoder of an enveloped format that writes each segment's run lengths with `write`."""

    def encode(found: Found, left: Allowance) -> Mapping[str, Any]:
        label_map = cast("LabelMap", found.result)
        segments = (
            object_text(
                {
                    "category_id": found.categories[label].id,
                    "category": found.categories[label].name,
                    "area": rle.area(counts),
                    "segmentation": write(counts, found.width, found.height),
                }
            )
            for label, counts in with_counts(found, left)
        )
        return {
            "resolution": label_map.side,
            "points": "auto" if label_map.points is None else label_map.points,
            "truncated": label_map.truncated,
            "segments": array_text(segments),
        }

    return encode


def with_counts(found: Found, left: Allowance) -> Iterator[tuple[int, rle.Counts]]:
    """Return each class that occurs, as its index, with the run lengths of its pixels.

    Raises CancelledError or TooDetailed as encoders do.
    """
    labels = _labels(cast("LabelMap", found.result), found, left)
    runs = rle.encode_labels(labels, left.check, left.runs)
    return ((label, counts) for label, counts in runs.items() if label != VOID)


def _labels(label_map: LabelMap, found: Found, left: Allowance) -> NDArray[np.uint8]:
    """Return the labels of the image's pixels. Raise CancelledError if the client has left."""
    labels = np.empty((found.height, found.width), np.uint8)
    start = 0
    for band in label_map.bands(found.height, found.width):
        left.check()
        labels[start : start + len(band)] = band
        start += len(band)
    return labels
