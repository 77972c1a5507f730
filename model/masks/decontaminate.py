"""Take the background's colour out of the pixels at the edge of a cut-out.

A pixel that an object covers by α shows C = αF + (1 − α)B. F and B near it are estimated first, as means of the pixels
around in which one of them is nearly alone, and the difference between C and what they would give is added to F by α:
F = F̂ + α(C − αF̂ − (1 − α)B̂). That is the formula of Forte, Approximate Fast Foreground Colour Estimation (ICIP 2021,
arXiv:2006.14970), which the division by α would make noise where α is small. Only pixels at the edge are computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RADIUS = 3  # pixels around a pixel at the edge: beyond the blur of a lens
_POWER = 6  # of α in the weights of the means: a half-covered pixel counts 1/64 of one that is covered
_AROUND = [
    (down, across)
    for down in range(2 * RADIUS + 1)
    for across in range(2 * RADIUS + 1)
    if (down - RADIUS) ** 2 + (across - RADIUS) ** 2 <= RADIUS**2 + 1
]
_PART = 1 << 13  # pixels at the edge that are computed at a time: they stay in the cache
_WEIGHTS = ((np.arange(256) / 255.0) ** _POWER).astype(np.float32)


def decontaminate(
    pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], part: tuple[slice, slice]
) -> NDArray[np.uint8]:
    """Return the colours of some rows and columns of a cut-out, RGB [h', w', 3]: 0 where it is transparent.

    pixels: RGB [h, w, 3]. alpha: [h, w], 0–255. Both should have RADIUS more pixels on each side of the part, unless
    the picture ends there; a picture goes on beyond its edges with the pixels at its edges.
    """
    shown = np.dstack((pixels, alpha))
    inner = alpha[part]
    colours = np.where(inner[..., None] > 0, pixels[part], np.uint8(0))
    row, column = np.nonzero((inner > 0) & (inner < 255))
    for start in range(0, row.size, _PART):
        some = slice(start, start + _PART)
        r, c = row[some], column[some]
        colours[r, c] = _foreground(shown, r + part[0].start, c + part[1].start)
    return colours


def _foreground(
    shown: NDArray[np.uint8], row: NDArray[np.intp], column: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Return the foreground's colour [n, 3] in partly covered pixels of a picture with alpha, RGBA [h, w, 4]."""
    height, width, _ = shown.shape
    packed = shown.view(np.uint32).reshape(-1)
    fore, back = np.zeros((2, row.size, 4), np.float32)  # sums of weighted colours, and of weights
    columns = [(column + across).clip(0, width - 1) for across in range(-RADIUS, RADIUS + 1)]
    lines = [(row + down).clip(0, height - 1) * width for down in range(-RADIUS, RADIUS + 1)]
    for down, across in _AROUND:
        seen = packed.take(lines[down] + columns[across]).view(np.uint8).reshape(-1, 4)
        alpha = seen[:, 3]
        colour = seen.astype(np.float32)
        colour[:, 3] = 1
        fore += _WEIGHTS.take(alpha)[:, None] * colour
        back += _WEIGHTS.take(255 - alpha)[:, None] * colour
    here = shown[row, column].astype(np.float32)
    share = here[:, 3:] / 255
    # No sum of weights is 0: a partly covered pixel has some of both itself.
    f, b = fore[:, :3] / fore[:, 3:], back[:, :3] / back[:, 3:]
    found = f + share * (here[:, :3] - share * f - (1 - share) * b)
    return found.round().clip(0, 255).astype(np.uint8)
