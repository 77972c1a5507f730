"""The levels of a label map: their sizes, and how many cells each evaluates."""

from __future__ import annotations

import math
from collections.abc import Iterator

Size = tuple[int, int]  # height, width

# Searching so many cells takes about as long as evaluating one point (measured: 27 cells with 11 classes, 64 with 19).
CELLS_PER_POINT = 32
ROUNDING = 1e-6  # of a number of cells


def size_after(size: Size, target: Size) -> Size:
    """Return the size of the level that follows one of `size`: twice as large, or the target itself."""
    return (2 * size[0], 2 * size[1]) if 2 * size[0] < target[0] else target


def window_start(span: tuple[float, float], stride: int, target: Size) -> Size:
    """Return the size of the first level of a window, whose `span` (height, width) is in network-input pixels.

    It has the shape of the target, and cells as small as those of the coarse prediction, or smaller. If the target's
    cells are larger than the coarse ones along both axes, the first level is the target itself. If they are larger
    along one axis only, the first level's cells are larger along that axis, too.
    """
    less, more = sorted(side / stride / asked for side, asked in zip(span, target, strict=True))
    share = more if more < 1 else min(less, 1.0)
    height, width = (max(1, math.ceil(share * asked - ROUNDING)) for asked in target)
    return height, width


def level_points(size: Size, extent: tuple[float, float], points: int | None) -> int:
    """Return how many cells of a level of `size` are evaluated. `extent` is the image's size in the network's input.

    With None, the number is constant up to the input's size, and beyond it grows with the length of the contours. The
    factor is where twice as many points gain next to nothing (docs/paper.md); it gives twice the published 8,192 for
    1024×2048.
    """
    asked = int(16 * max(sum(size), sum(extent)) // 3) if points is None else points
    return min(asked, size[0] * size[1])


def search_work(size: Size) -> int:
    """Return the work of searching a level of `size`, in points."""
    return -(-size[0] * size[1] // CELLS_PER_POINT)


def total_points(start: Size, target: Size, extent: tuple[float, float], points: int | None) -> int:
    """Return the number of points that a render evaluates from the coarse prediction's size `start` to `target`."""
    return sum(level_points(size, extent, points) for size in _sizes(start, target))


def total_work(start: Size, target: Size, extent: tuple[float, float], points: int | None) -> int:
    """Return the work of a render in points, searching included, which is most of the work of a large map."""
    return sum(level_points(size, extent, points) + search_work(size) for size in _sizes(start, target))


def _sizes(start: Size, target: Size) -> Iterator[Size]:
    while start[0] < target[0]:
        start = size_after(start, target)
        yield start
