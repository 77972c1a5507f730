"""Format `label_studio_polygon`: a prediction with polygon regions, with so few corners that they can be edited."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model.masks.polygon import polygons
from model.masks.runs import TooDetailed
from model.masks.simplify import simplified
from service.output.format import Format, Found
from service.output.limits import MAX_EDITED_RUNS, Allowance, AnswerTooLarge
from service.output.text import Text, nested_text
from service.output.tools.label_studio import prediction, region_text
from service.output.tools.regions import FoundRegion

TOLERANCE = 1.0  # pixels between an outline's corner and the polygon, at most
_DECIMALS = 6  # of coordinates in percent


def encode(found: Found, left: Allowance) -> Text:
    """Return a prediction with a region for each part of an instance, or of a class of a label map."""
    left.runs = min(left.runs, MAX_EDITED_RUNS)
    left.corners = min(left.corners, 2 * MAX_EDITED_RUNS)
    try:
        return prediction(found, left, _regions)
    except TooDetailed as error:
        raise AnswerTooLarge(
            f"the outlines are too long for polygons, which may have {MAX_EDITED_RUNS} runs of pixels: ask for format "
            "label_studio, a lower resolution or fewer instances, or send a smaller image"
        ) from error


def _regions(found: Found, region: FoundRegion, number: int, left: Allowance) -> Iterator[Text]:
    """Yield a region for each part of a mask that hangs together. Holes are cut in, because a polygon has none."""
    outlines = polygons(region.runs, left.check, left.corners)
    left.corners -= len(outlines.points)
    for part, ring in enumerate(np.split(outlines.points, outlines.stops[:-1]) if outlines.stops else ()):
        value = {
            "points": _points(simplified(ring, TOLERANCE, left.check), found),
            "closed": True,
            "polygonlabels": [found.tags.label(number, region.category.name)],
        }
        yield region_text(found, region, f"{number}-{part}", "polygonlabels", value)


def _points(ring: NDArray[np.int32], found: Found) -> Text:
    """Return corners as [[x, y], …] in percent of the width and the height."""
    numbers = np.rint(ring * (100 * 10**_DECIMALS / np.array([found.width, found.height]))).astype(np.int64)
    closed = np.zeros(ring.shape, np.uint8)
    closed[:, 1] = 1
    closed[-1, 1] = 2
    return nested_text(numbers.ravel(), closed.ravel(), _DECIMALS)


FORMAT = Format(
    "a prediction of Label Studio with a polygon region for each part of an instance or class, within "
    f"{TOLERANCE:g} pixel of its outline",
    {"instance": encode, "semantic": encode},
    enveloped=False,
    listed=False,
    drawable=False,
)
