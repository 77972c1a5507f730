"""Format `yolo`: labels of Ultralytics' segmentation data sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.masks.polygon import polygons
from service.output.format import Format, Found
from service.output.limits import Allowance
from service.output.text import Text, numbers_text
from service.output.tools.regions import regions


def encode(found: Found, left: Allowance) -> Text:
    """Return a line for each instance that has pixels: its class's index, x and y of a polygon's corners, each 0 to 1.

    A line has one polygon. So holes are cut in as in `polygon`, and parts are joined by lines there and back. The
    pixels whose centres lie in such a polygon are the mask.
    """
    size = np.array([found.width, found.height])
    decimals = max(6, len(str(max(found.width, found.height))) + 2)  # a hundredth of a pixel at least
    pieces: list[bytes] = []
    for region in regions(found, left):
        outlines = polygons(region.runs, left.check, left.corners)
        left.corners -= len(outlines.points)
        if not outlines.stops:
            continue
        joined = _joined(np.split(outlines.points, outlines.stops[:-1]), left)
        numbers = numbers_text(np.rint(joined * (10**decimals / size)).astype(np.int64).ravel(), decimals)
        pieces += [
            str(region.index).encode(),
            *(piece.translate(_SPACES, b"[]") for piece in (b",", *numbers.pieces)),
        ]
        pieces.append(b"\n")
    return Text(pieces)


_SPACES = bytes.maketrans(b",", b" ")


def _joined(rings: list[NDArray[np.int32]], left: Allowance) -> NDArray[np.int32]:
    """Return one ring [n, 2] out of several.

    Each is left at the point that is nearest to the next one's first, and gone on with after the return from there.
    """
    before, after = [], []
    for number, (ring, following) in enumerate(zip(rings, [*rings[1:], None], strict=True)):
        if not number % 64:
            left.check()
        closed = ring if number == 0 else np.concatenate((ring, ring[:1]))
        if following is None:
            before.append(closed)
            break
        gap = (ring - following[0]).astype(np.int64)
        nearest = int((gap**2).sum(1).argmin())
        before.append(ring[: nearest + 1])
        after.append(closed[nearest:])
    return np.concatenate([*before, *reversed(after)])


FORMAT = Format(
    "a text with a line for each instance as Ultralytics' segmentation labels have it: the class's index and a polygon "
    "in parts of the image's width and height",
    {"instance": encode},
    media_type="text/plain",
    suffix=".txt",
    enveloped=False,
    listed=False,
    drawable=False,
)
