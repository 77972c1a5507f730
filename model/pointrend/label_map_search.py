"""The search for the uncertain cells of a label map's next level, in steps that are short however large the level is.

Shapes:  K classes · w width of the level · P points of the level
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from model.pointrend.label_map_levels import Size, search_work
from model.pointrend.points import most_uncertain, top2_uncertainty


class Level(NamedTuple):
    """What a finished level adds to the one before it."""

    size: Size
    cells: Tensor  # [P] flat indices, ascending
    logits: Tensor  # [P, K]


@dataclass(frozen=True, eq=False)
class UnfinishedLevel:
    """The next level of a label map: first its rows are searched, then the chosen cells are evaluated.

    A step searches a band of rows for the cells where the two best classes are closest. The last of these steps, and
    each step after it, evaluates a part of the chosen cells.
    """

    size: Size
    count: int  # P, the number of cells to choose
    band: int  # rows that a step searches
    row: int = 0  # rows above this one are searched
    # Candidate cells; after the last search, the chosen cells. None before the first search.
    cells: Tensor | None = None
    uncertainty: Tensor | None = None  # of the candidates
    # `count` cells are known that are at least as uncertain as this. NaN: not so many are known yet.
    least: float = torch.nan
    logits: tuple[Tensor, ...] = ()  # [p, K] of the first cells, a part for each step

    @property
    def rows(self) -> tuple[int, int]:
        """The first row to search in this step, and the first one after it; equal once all rows are searched."""
        return self.row, min(self.row + self.band, self.size[0])

    def wanted(self, most: int) -> Tensor:
        """Return at most `most` cells [p] to evaluate in this step; none before all rows are searched."""
        assert self.cells is not None  # a step searches first
        return self.cells[self._evaluated :][:most] if self.row == self.size[0] else self.cells[:0]

    def work(self, most: int) -> int:
        """Return the work of the next step in points."""
        start, stop = self.rows
        left = min(self.count - self._evaluated, most) if stop == self.size[0] else 0
        return search_work((stop - start, self.size[1])) + left

    @property
    def finished(self) -> Level | None:
        """The level, once every chosen cell is evaluated."""
        if self.cells is None or self._evaluated < self.count:
            return None
        return Level(self.size, self.cells, torch.cat(self.logits))

    def searched(self, logits: Tensor) -> UnfinishedLevel:
        """Return this level after a search of `rows`, whose interpolated logits are [K, rows, w].

        If these are all rows, shapes depend on no data, so that an accelerator is never waited for.
        """
        start, stop = self.rows
        uncertainty = top2_uncertainty(logits[None])[:, 0]
        if stop - start == self.size[0]:
            cells, _ = most_uncertain(uncertainty, self.count)
            return replace(self, row=stop, cells=cells[0].sort().values)
        return self._searched_band(uncertainty.flatten())

    def _searched_band(self, uncertainty: Tensor) -> UnfinishedLevel:
        """Return this level after the search of a band. Cells of the band that may still be chosen are kept."""
        start, stop = self.rows
        # Not `>`, because cells that are NaN or -inf must count too, or the level might never have its cells.
        found = (uncertainty <= self.least).logical_not_().nonzero()[:, 0]
        candidates, cells = uncertainty[found], found + start * self.size[1]
        if self.cells is not None and self.uncertainty is not None:
            candidates, cells = torch.cat([self.uncertainty, candidates]), torch.cat([self.cells, cells])
        least, last = self.least, stop == self.size[0]
        if len(candidates) > 4 * self.count or last:  # not after every band: selecting takes time, too
            candidates, kept = candidates.topk(min(self.count, len(candidates)), sorted=False)
            cells = cells[kept]
            least = float(candidates.min()) if len(candidates) == self.count else least
        if last:
            candidates, cells = candidates[:0], cells.sort().values
        return replace(self, row=stop, cells=cells, uncertainty=candidates, least=least)

    def evaluated(self, logits: Tensor) -> UnfinishedLevel:
        """Return this level with the point head's logits [p, K] at the `wanted` cells."""
        return replace(self, logits=(*self.logits, logits))

    @property
    def _evaluated(self) -> int:
        return sum(map(len, self.logits))
