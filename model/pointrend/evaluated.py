"""Which cells of a mask's levels were evaluated by the point head, kept for masks that shall be explained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class EvaluatedLevel(NamedTuple):
    """A finished level of one mask."""

    side: int
    cells: Tensor | None  # [P] flat indices; None: all of them


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The finished levels of one mask, and the parts of the next one if it takes several steps."""

    levels: tuple[EvaluatedLevel, ...] = ()
    parts: tuple[Tensor, ...] = ()

    def after(self, side: int, cells: Tensor, *, complete: bool) -> Evaluated:
        """Return this with further cells [P] of the next level, which may be `complete` with them."""
        parts = (*self.parts, cells.to(torch.int32))  # a copy, because the cells are a row of a whole step's
        if not complete:
            return replace(self, parts=parts)
        every = sum(map(len, parts)) == side**2
        level = EvaluatedLevel(side, None if every else torch.cat(parts))
        return Evaluated((*self.levels, level))

    def without_next(self) -> Evaluated:
        """Return this without the parts of the next level, which is begun anew."""
        return replace(self, parts=())
