"""The levels of an instance mask: their sides, and how many points each evaluates."""

from __future__ import annotations

from collections.abc import Iterator

SIDES = (28, 56, 112, 224, 448, 896)  # The mask sides that a request may ask for.
COARSEST = 7  # The side of the coarse head's mask. No mask of a lower side exists.
START = 28  # Below this side every cell is evaluated anyway (reference behaviour: 4·14² ≤ 784).
SLACK = 0.01  # Pixels of a box. Rounding between the image and the network's input changes less than this.
# Enlarging and searching so many cells takes about as long as evaluating one point (measured: 300 cells at a point-head
# width of 128, 800 at a width of 256).
CELLS_PER_POINT = 256


def start_side(points: int | None) -> int:
    """Return the side of the first level, which is evaluated densely.

    It is the finest grid 7·2ⁿ of which `points` cover every cell, as in the reference. With None, it is 28.
    """
    if points is None:
        return START
    side = COARSEST
    while 4 * side**2 <= points:
        side *= 2
    return side


def auto_points(side: int) -> int:
    """Return the number of points for a level: the paper's 28² up to side 224, beyond it in proportion to the side.

    The number of uncertain cells follows the length of the contour, which grows with the side.
    """
    return max(784, 784 * side // 224)


def level_after(level: int, target: int, points: int | None) -> tuple[int, int]:
    """Return the side of the level that follows `level` (0: none yet), and the number of its cells to evaluate."""
    side = min(2 * level or start_side(points), target)
    asked = auto_points(side) if points is None else points
    return side, side**2 if level == 0 else min(asked, side**2)


def level_work(side: int, count: int) -> int:
    """Return the work of a level in points. A large level costs its search even if few points are evaluated."""
    return max(count, side**2 // CELLS_PER_POINT)


def total_points(side: int, points: int | None) -> int:
    """Return the number of points that a render evaluates on its way to `side`."""
    return sum(count for _, count in _levels(side, points))


def total_work(side: int, points: int | None) -> int:
    """Return the work of a render on its way to `side` in points, searching included (see `level_work`)."""
    return sum(level_work(level, count) for level, count in _levels(side, points))


def native_side(width: float, height: float) -> int:
    """Return the least side of SIDES that gives each pixel of a width×height box a cell of its own, or the largest."""
    longest = max(width, height)
    return next((side for side in SIDES if side >= longest - SLACK), SIDES[-1])


def _levels(side: int, points: int | None) -> Iterator[tuple[int, int]]:
    level = 0
    while level < side:
        level, count = level_after(level, side, points)
        yield level, count
