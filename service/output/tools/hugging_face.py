"""Format `hugging_face`: the answer of Hugging Face's task image-segmentation, with each mask as a PNG file."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from model.masks.runs import Runs
from model.masks.transpose import transposed
from service.output.format import Format, Found
from service.output.limits import Allowance, check_whole_masks
from service.output.pictures.png_file import GREY, PngFile
from service.output.text import Text, array_text, object_text
from service.output.tools.regions import FoundRegion, regions

_LEVEL = 1  # masks are small at any
_BAND = 1 << 20  # pixels that are written at a time, a row at least


def encode(found: Found, left: Allowance) -> Text:
    """Return `label`, `score` and `mask` of each instance, or of each class of a label map, whose score is null."""
    return array_text(
        _entry(found, region, number, left) for number, region in enumerate(regions(found, left), 1)
    )


def _entry(found: Found, region: FoundRegion, number: int, left: Allowance) -> Text:
    check_whole_masks(number, found.width * found.height)
    rows = transposed(region.runs, left.check, left.corners // 2)
    left.corners -= rows.ends.size
    picture = _picture(rows, found.width, found.height, left)
    text = Text([b'"', base64.b64encode(picture), b'"'])
    return object_text({"label": region.category.name, "score": region.score, "mask": text})


def _picture(rows: Runs, width: int, height: int, left: Allowance) -> bytes:
    """Return a PNG file of a mask: grey, 255 where the mask is. `rows` are the transposed mask's runs."""
    file = PngFile(width, height, GREY, _LEVEL)
    # A line of the file begins with 0, for no filter, and no run goes on into the next line.
    row, column = np.divmod(rows.ends, rows.height + 1)
    line = width + 1
    places = (row + rows.left) * line + column + rows.top + 1
    step = max(1, _BAND // line)
    for top in range(0, height, step):
        left.check()
        bounds = np.array([top, min(top + step, height)]) * line
        file.add(_lines(places, *bounds.tolist()))
    return file.finished()


def _lines(places: NDArray[np.int64], first: int, last: int) -> NDArray[np.uint8]:
    """Return the bytes of the lines from place `first` to before `last`."""
    # Ends at a line's end and the next line's begin are the same place, so that pairs stay together.
    a, b = (np.searchsorted(places[1::2], first, "right"), np.searchsorted(places[::2], last, "left"))
    ends = np.concatenate(([first], places[2 * a : 2 * b], [last]))
    values = (np.arange(ends.size - 1) % 2 * 255).astype(np.uint8)
    return np.repeat(values, np.diff(ends))


FORMAT = Format(
    "a list of label, score and mask as Hugging Face's task image-segmentation has it, each mask a PNG file in base64",
    {"instance": encode, "semantic": encode},
    enveloped=False,
    listed=False,
    drawable=False,
)
