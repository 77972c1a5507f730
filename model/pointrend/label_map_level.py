"""The next level of a label map on its way, in steps that are short however large the level is.

K classes · w width of the level · P points of the level
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from model.pointrend.points import top2_uncertainty
from model.pointrend.render import GROUP_POINTS

CELLS_A_POINT = 32
Size = tuple[int, int]  # height, width


class Level(NamedTuple):
    """What a level adds to the one before it."""

    size: Size
    cells: Tensor  # [P] flat indices, ascending
    logits: Tensor  # [P, K]


def search_work(size: Size) -> int:
    """What searching that many cells takes, in points to evaluate; with 11 and 19 classes 27 and 64 cells were one."""
    return -(-size[0] * size[1] // CELLS_A_POINT)


@dataclass(frozen=True, eq=False)
class Ahead:
    """Its rows are searched for the cells where the two best classes are closest, then these are evaluated.

    A step searches a band of rows; the last of these steps, and each one after it, evaluates a part of the cells.
    """

    size: Size
    count: int  # P
    band: int  # rows of a step
    row: int = 0  # those above it are searched
    cells: Tensor = field(
        default_factory=lambda: torch.empty(0, dtype=torch.int64)
    )  # in the end [P], ascending
    doubt: Tensor = field(default_factory=lambda: torch.empty(0))  # of these cells
    least: float = torch.nan  # `count` cells are known that are no surer than this; NaN: not yet
    logits: tuple[Tensor, ...] = ()  # [p, K] of the first cells, a part each

    @property
    def rows(self) -> tuple[int, int]:
        """First and last (excluded) of those to search now; equal once all are."""
        return self.row, min(self.row + self.band, self.size[0])

    @property
    def wanted(self) -> Tensor:
        """Cells [p] to evaluate now; none before all rows are searched."""
        return self.cells[self._evaluated :][:GROUP_POINTS] if self.row == self.size[0] else self.cells[:0]

    @property
    def work(self) -> int:
        """Of the next step, in points."""
        start, stop = self.rows
        left = min(self.count - self._evaluated, GROUP_POINTS) if stop == self.size[0] else 0
        return search_work((stop - start, self.size[1])) + left

    @property
    def level(self) -> Level | None:
        """None before every cell is evaluated."""
        return Level(self.size, self.cells, torch.cat(self.logits)) if self._evaluated == self.count else None

    def searched(self, logits: Tensor) -> Ahead:
        """With the logits [K, rows, w] of `rows`, as they are before any cell is evaluated."""
        start, stop = self.rows
        doubt = top2_uncertainty(logits[None]).flatten()
        # Not `>`: cells that are NaN or -inf count, too, or a level might never have its cells.
        found = (doubt <= self.least).logical_not_().nonzero()[:, 0]
        best, cells = (
            torch.cat([self.doubt, doubt[found]]),
            torch.cat([self.cells, found + start * self.size[1]]),
        )
        least, last = self.least, stop == self.size[0]
        if len(best) > 4 * self.count or last:  # not at every band: selecting has its price, too
            best, kept = best.topk(min(self.count, len(best)), sorted=False)
            cells, least = cells[kept], float(best.min()) if len(best) == self.count else least
        if last:
            best, cells = best[:0], cells.sort().values
        return replace(self, row=stop, cells=cells, doubt=best, least=least)

    def evaluated(self, logits: Tensor) -> Ahead:
        """With the point head's logits [p, K] at the `wanted` cells."""
        return replace(self, logits=(*self.logits, logits))

    @property
    def _evaluated(self) -> int:
        return sum(map(len, self.logits))
