"""Format `cutout`: the objects as a picture whose alpha is how much of each pixel they cover.

The picture is made band by band. Of a band the samples that any object covers are found first, then the colours at
the edge without the background's, and then its lines are packed. The crop is found by a pass over the samples alone.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from model.masks.coverage import Coverage, alpha_of, coverage
from model.masks.decontaminate import RADIUS, decontaminate
from model.masks.paste import crop_size
from service.output.format import Format, Found
from service.output.limits import Allowance, check_edge, check_pixels
from service.output.pictures.png_file import AVERAGE, RGBA, PngFile
from service.output.text import Text

if TYPE_CHECKING:
    from model.predict.instance import Instances, Mask

BAND = 2**19  # pixels of a band, unless a row has more
# zlib's level 1, with run lengths alone: photographs that are filtered have no repetitions that are worth a search.
_LEVEL = 1
_PIXEL = 4  # bytes
_IN_PIXELS = 0  # the unit of an offset


@dataclass(frozen=True)
class Frame:
    """A part of the image, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    def bands(self) -> Iterator[Frame]:
        """Return the frame in parts of at most BAND pixels, or of one row."""
        step = max(1, BAND // self.size[0])
        for top in range(self.top, self.bottom, step):
            yield replace(self, top=top, bottom=min(top + step, self.bottom))

    def around(self, margin: int, within: Frame) -> Frame:
        """Return the frame with a margin, as far as it is within another one."""
        return Frame(
            max(self.left - margin, within.left),
            max(self.top - margin, within.top),
            min(self.right + margin, within.right),
            min(self.bottom + margin, within.bottom),
        )

    def slices(self, within: Frame) -> tuple[slice, slice]:
        """Return the rows and columns in an array that holds another frame."""
        return (
            slice(self.top - within.top, self.bottom - within.top),
            slice(self.left - within.left, self.right - within.left),
        )


@dataclass(frozen=True, eq=False)
class _Cutter:
    """Makes parts of a cut-out."""

    found: Found
    masks: tuple[Mask, ...]
    left: Allowance

    @property
    def whole(self) -> Frame:
        return Frame(0, 0, self.found.width, self.found.height)

    def extent(self) -> Frame | None:
        """Return the least frame with all pixels that are not transparent; None if there are none."""
        columns, rows = np.zeros(self.whole.right, np.bool_), np.zeros(self.whole.bottom, np.bool_)
        for band in self.whole.bands():
            covered = self.samples(band) > 0
            columns |= covered.any(0)
            rows[band.top : band.bottom] = covered.any(1)
        if not rows.any():
            return None
        across, down = np.flatnonzero(columns), np.flatnonzero(rows)
        return Frame(int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1)

    def samples(self, part: Frame) -> NDArray[np.uint16]:
        """Return which samples any mask covers in a part of the image: [h, w]. Raise as encoders do."""
        self.left.check()
        width, height = part.size
        bits = np.zeros((height, width), np.uint16)
        for mask in self.masks:
            covered = self._coverage(mask)
            if covered.rows.start < part.bottom and covered.rows.stop > part.top:
                self.left.check()
                self.left.edge -= covered.add(bits, part.top, part.left)
                check_edge(self.left)
        return bits

    def shown(self, part: Frame) -> NDArray[np.uint8]:
        """Return a part of the cut-out: RGBA [h, w, 4]. Raise as encoders do."""
        width, height = part.size
        shown = np.zeros((height, width, _PIXEL), np.uint8)
        more = part.around(RADIUS, self.whole)
        alpha = alpha_of(self.samples(more))
        if self.found.pixels is not None and alpha.any():
            inner = part.slices(more)
            shown[..., :3] = decontaminate(self.found.pixels[more.slices(self.whole)], alpha, inner)
            shown[..., 3] = alpha[inner]
        return shown

    def _coverage(self, mask: Mask) -> Coverage:
        logits = mask.logits.float().cpu().numpy()
        return coverage(logits, mask.box.tolist(), self.whole.right, self.whole.bottom)


def encode(found: Found, left: Allowance) -> Text:
    """Return a PNG file of the image inside of the masks, transparent elsewhere.

    It has the image's size or, with `crop`, that of the pixels that are not transparent, if there are any. A crop
    has its place in the image in the chunk oFFs. Raise CancelledError or AnswerTooLarge as encoders do.
    """
    masks = cast("Instances", found.result).masks
    check_pixels(sum(math.prod(crop_size(mask.box.tolist(), found.width, found.height)) for mask in masks))
    cutter = _Cutter(found, masks, left)
    frame = cutter.whole
    if found.crop:
        frame = _Cutter(found, masks, replace(left)).extent() or frame
    width, height = frame.size
    file = PngFile(width, height, RGBA, _LEVEL, zlib.Z_RLE)
    if found.crop:
        file.chunk(b"oFFs", struct.pack(">iiB", frame.left, frame.top, _IN_PIXELS))
    above = np.zeros(_PIXEL * width, np.uint8)
    for band in frame.bands():
        lines = cutter.shown(band).reshape(band.size[1], -1)
        file.add(_filtered(lines, above))
        above = lines[-1]
    return Text([file.finished()])


def _filtered(lines: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return lines as PNG has them: the differences from the mean of the pixel before and the one above."""
    up = np.vstack((above, lines[:-1]))
    before = np.zeros_like(lines)
    before[:, _PIXEL:] = lines[:, :-_PIXEL]
    filtered = np.empty((lines.shape[0], lines.shape[1] + 1), np.uint8)
    filtered[:, 0] = AVERAGE
    # The mean, rounded down, without a carry out of its byte.
    np.subtract(lines, (before & up) + ((before ^ up) >> 1), out=filtered[:, 1:])
    return filtered


FORMAT = Format(
    "the image inside of the masks as a PNG file, transparent elsewhere, with smooth edges, and nothing else",
    {"instance": encode},
    media_type="image/png",
    suffix=".png",
    enveloped=False,
    needs_pixels=True,
    drawable=False,
    listed=False,
)
