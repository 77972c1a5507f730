"""Features read at points: bilinear interpolation of projected maps.

Shapes:  n points · D point-head width · H, W size of a map
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from model.pointrend.points import neighbours


class FineMap(NamedTuple):
    """The fine features of one image, projected by the first layer of the point head (`PointHead.project_fine`).

    Images of one coarse pass share a table, each with rows of its own, so that one gather reads them all.
    """

    table: Tensor  # [..., D], read as rows of D; cell (i, j) of the image is row first + i·W + j
    height: int
    width: int
    stride: int  # network-input pixels per cell
    first: int = 0


def read_fine(fine: FineMap, positions: Tensor) -> Tensor:
    """Return the fine features [n, D] at positions [n, 2] (x, y) in network-input pixels."""
    xy = positions / fine.stride
    cells, weights = neighbours(xy[:, 0], xy[:, 1], fine.height, fine.width)
    return interpolate(fine.table, cells + fine.first, weights)


def interpolate(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums [n, D] of k rows each of a table [..., D]; cells and weights are [n, k].

    The embedding bag gathers and sums in one operation, so the rows are never copied.
    """
    rows = table.flatten(0, -2)
    return F.embedding_bag(cells, rows, mode="sum", per_sample_weights=weights.to(rows.dtype))
