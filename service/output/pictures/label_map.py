"""Format `png`: a label map as a picture with a palette."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from model.masks.palette import Colour
from service.output.format import Format, Found
from service.output.limits import Allowance
from service.output.pictures.png_file import NO_FILTER, PALETTE, PngFile
from service.output.text import Text

if TYPE_CHECKING:
    from model.predict.label_map import LabelMap

_LEVEL = 3  # takes half the time of the usual 6; label maps are small either way
_BYTES = 1 << 20  # of labels that are packed at a time


def encode(found: Found, left: Allowance) -> Text:
    """Return a PNG file of the label map, in the size that was asked for.

    It is written band by band, so the whole map is never in memory. Labels beyond the palette are black.
    """
    label_map = cast("LabelMap", found.result)
    height, width = label_map.asked
    file = PngFile(width, height, PALETTE, _LEVEL)
    file.chunk(b"PLTE", _colours(found.palette))
    for band in label_map.bands(height, width):
        for rows in _lines(band):
            left.check()
            file.add(rows)
    return Text([file.finished()])


def _lines(band: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Return the lines of a band as PNG has them, in parts: each begins with its filter, which is none."""
    step = max(1, _BYTES // (band.shape[1] + 1))
    for start in range(0, len(band), step):
        yield np.pad(band[start : start + step], ((0, 0), (1, 0)), constant_values=NO_FILTER)


def _colours(palette: Sequence[Colour]) -> bytes:
    parts = bytes(part for colour in palette for part in colour)
    return parts + bytes(3 * 256 - len(parts))


FORMAT = Format(
    "the label map as a PNG file with a colour for each class, and nothing else",
    {"semantic": encode},
    media_type="image/png",
    suffix=".png",
    enveloped=False,
    listed=False,
)
