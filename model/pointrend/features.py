"""Features read at points: bilinear interpolation of projected maps.

Shapes:  n points · D point-head width · H, W size of a map
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from model.pointrend.points import neighbours


class FineMap(NamedTuple):
    """The fine features of one image, projected by the first layer of the point head (`PointHead.project_fine`)."""

    table: Tensor  # [H·W, D]; cell (i, j) is row i·W + j
    height: int
    width: int
    stride: int  # network-input pixels per cell


def read_fine(fine: FineMap, positions: Tensor) -> Tensor:
    """Return the fine features [n, D] at positions [n, 2] (x, y) in network-input pixels."""
    xy = positions / fine.stride
    return interpolate(fine.table, *neighbours(xy[:, 0], xy[:, 1], fine.height, fine.width))


def interpolate(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums [n, D] of four rows each of a table [·, D]; cells and weights are [n, 4].

    The embedding bag gathers and sums in one operation, so the four neighbours are never copied.
    """
    return F.embedding_bag(cells, table, mode="sum", per_sample_weights=weights)
