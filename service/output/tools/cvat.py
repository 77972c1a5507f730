"""Format `cvat`: CVAT's shapes of type `mask`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.masks.rle import counts_of
from model.masks.runs import Runs
from model.masks.transpose import transposed
from service.output.format import Format, Found
from service.output.limits import Allowance
from service.output.text import Text, array_text, numbers_text, object_text
from service.output.tools.regions import FoundRegion, regions


def encode(found: Found, left: Allowance) -> Text:
    """Return a shape for each instance, or each class of a label map, that has pixels: CVAT knows no empty masks."""
    return array_text(_shape(found, region, left) for region in regions(found, left) if region.runs.ends.size)


def _shape(found: Found, region: FoundRegion, left: Allowance) -> Text:
    rows = transposed(region.runs, left.check, left.corners // 2)
    left.corners -= rows.ends.size
    score = {} if region.score is None else {"score": region.score}
    return object_text(
        {
            "type": "mask",
            "frame": found.image_id,
            "label": region.category.name,
            **score,
            "points": numbers_text(mask_points(rows)),
        }
    )


def mask_points(rows: Runs) -> NDArray[np.int64]:
    """Return what CVAT has as the points of a mask: run lengths along the rows of its box, zeros first, and the box.

    `rows` are the runs of the transposed mask, of which there is one at least. The box is as small as it can be: left,
    top, right, bottom, the last column and row included.
    """
    across = rows.height + 1
    starts, stops = rows.ends[::2], rows.ends[1::2]
    top, bottom = int(starts[0] // across), int(starts[-1] // across)
    left, right = int((starts % across).min()), int((stops % across).max()) - 1
    row, column = np.divmod(rows.ends, across)
    height, width = bottom - top + 1, right - left + 1
    ends = (row - top) * (width + 1) + column - left
    counts = counts_of(Runs(0, 0, height, width, ends), height, width)
    box = (rows.top + left, rows.left + top, rows.top + right, rows.left + bottom)
    return np.concatenate((counts, box))


FORMAT = Format(
    "a list of CVAT's shapes of type `mask`: run lengths along the rows of the box, and the box",
    {"instance": encode, "semantic": encode},
    enveloped=False,
    first_id=0,
    drawable=False,
)
