"""Why a mask is as it is: the coarse mask that it was rendered from, and the points that were evaluated on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.pointrend.evaluated import Evaluated
from model.pointrend.point_head import PointHead
from model.pointrend.regions import RegionMaps


class ExplainedLevel(NamedTuple):
    """The cells of a level that were evaluated. A point is the centre of its cell."""

    side: int
    cells: NDArray[np.uint32] | None  # flat indices in ascending order; None: all of them

    @property
    def points(self) -> int:
        """How many points were evaluated."""
        return self.side**2 if self.cells is None else len(self.cells)


@dataclass(frozen=True, eq=False)
class MaskExplanation:
    """Where a mask comes from."""

    coarse: NDArray[np.float32]  # [s, s] foreground probability
    levels: tuple[ExplainedLevel, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.coarse.nbytes + sum(cells.nbytes for _, cells in self.levels if cells is not None)

    @property
    def listed(self) -> int:
        """The number of cells that are listed."""
        return sum(len(cells) for _, cells in self.levels if cells is not None)


@torch.inference_mode()
def coarse_probabilities(maps: RegionMaps, rows: Tensor, head: PointHead | None) -> NDArray[np.float32]:
    """Return the coarse masks [R, s, s] of regions `rows`, of their own classes, as foreground probabilities."""
    rows = rows.to(maps.coarse.device)
    cells = maps.coarse[rows]
    logits = cells[..., 0] if head is None else head.unproject_coarse(cells, maps.classes[rows])
    side = int(cells.shape[1] ** 0.5)
    return logits.sigmoid().float().view(-1, side, side).cpu().numpy()


@torch.inference_mode()
def explanation(coarse: NDArray[np.float32], evaluated: Evaluated) -> MaskExplanation:
    """Return the explanation of a mask, on the host."""
    levels = tuple(
        ExplainedLevel(side, None if cells is None else cells.sort().values.cpu().numpy().astype(np.uint32))
        for side, cells in evaluated.levels
    )
    return MaskExplanation(coarse, levels)
