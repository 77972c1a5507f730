"""What instance masks are rendered from: tensors of all regions of a coarse pass, or of several passes joined.

Shapes:  N regions · s side of the coarse masks · L·D + 1 columns of a coarse projection · n points of r regions
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from model.pointrend.features import FineMap, interpolate
from model.pointrend.point_head import PointHead
from model.pointrend.points import inner_neighbours, neighbours, to_image

RING = 1  # cells of zeros around a coarse mask, to which it fades beyond the centres of its outermost cells


class RegionMaps(NamedTuple):
    """The regions that share their tensors. Which of them are rendered is known to the renders alone."""

    coarse: Tensor  # [N, s², L·D + 1] projected coarse predictions (see PointHead.project_coarse)
    boxes: Tensor  # [N, 4] (x0, y0, x1, y1) in network-input pixels
    classes: Tensor  # [N] indices


Window = tuple[float, float, float, float]  # (x0, y0, x1, y1) in unit coordinates of a box
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)


class Source(NamedTuple):
    """Where one region reads: a row of its maps, its image's rows of the fine table, and a part of its box.

    A mask is a function of real points, so any part of the box can be rendered, at any resolution.
    """

    maps: RegionMaps
    row: int
    fine: FineMap
    window: Window = WHOLE


class Reader:
    """Reads fine features and coarse projections of some regions, which share their tensors, at points of each.

    Unit points are those of each region's window.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        maps, fine = sources[0].maps, sources[0].fine
        device = maps.boxes.device
        places = [
            (source.row, source.fine.first, source.fine.height, source.fine.width) for source in sources
        ]
        rows, first, height, width = torch.tensor(places).T.to(device, non_blocking=True)
        self.classes = maps.classes[rows]
        self._table, self._stride = fine.table, fine.stride
        self._first, self._height, self._width = first[:, None, None], height[:, None], width[:, None]
        self._boxes, self._coarse = maps.boxes[rows], maps.coarse[rows]
        windows = [source.window for source in sources]
        whole = all(window == WHOLE for window in windows)
        self._windows = None if whole else torch.tensor(windows).to(device, non_blocking=True)

    def fine(self, points: Tensor) -> Tensor:
        """Return the fine features [r·P, D] at unit points [r, P, 2] of the windows."""
        xy = to_image(self._in_boxes(points), self._boxes) / self._stride
        cells, weights = neighbours(xy[..., 0], xy[..., 1], self._height, self._width)
        return interpolate(self._table, (cells + self._first).flatten(0, 1), weights.flatten(0, 1))

    def coarse(self, points: Tensor) -> CoarseTerms:
        """Return what the coarse predictions add to each layer at unit points [r, P, 2] of the windows."""
        regions, area, columns = self._coarse.shape
        side = int(area**0.5)
        table = F.pad(self._coarse.view(regions, side, side, columns), (0, 0, *(RING,) * 4))
        ring = side + 2 * RING
        cells, weights = inner_neighbours(self._in_boxes(points) * side + RING, ring)
        cells += torch.arange(0, regions * ring**2, ring**2, device=cells.device)[:, None, None]
        return CoarseTerms(table.flatten(0, 2), cells.flatten(0, 1), weights.flatten(0, 1))

    def _in_boxes(self, points: Tensor) -> Tensor:
        """Return unit points [r, P, 2] of the windows as unit points of the boxes."""
        return points if self._windows is None else to_image(points, self._windows)


class CoarseTerms(NamedTuple):
    """Projected coarse predictions with a ring of zeros around each, and where n points read them.

    Every point has four neighbours within the ring, so their weights add up to 1.
    """

    table: Tensor  # [·, L·D + 1]
    cells: Tensor  # [n, 4]
    weights: Tensor  # [n, 4]

    def term(self, head: PointHead, layer: int) -> Tensor:
        """Return what the coarse predictions add to a hidden layer, with its bias: [n, D] in that layer's precision.

        The bias is added to the cells, which are fewer than the points.
        """
        own = self.table[:, layer * head.dim : (layer + 1) * head.dim]
        bias = head.bias(layer)
        return interpolate(own.to(bias.dtype) + bias, self.cells, self.weights)

    @property
    def logits(self) -> Tensor:
        """What the coarse predictions add to the logits of the regions' own classes: [n]."""
        last = self.table[:, -1].contiguous()  # so that it fits into a cache
        return (last[self.cells] * self.weights).sum(-1)


def joined(sources: Sequence[Source]) -> list[Source]:
    """Return the same sources with tensors that all of them share: copies of what these regions read, and no more.

    A step over them is then one gather, however many coarse passes they come from.
    """
    tables: list[Tensor] = []
    starts: dict[tuple[int, int], int] = {}  # of each image's rows, by its table and its first row there
    total = 0
    for fine in (source.fine for source in sources):
        key, size = (id(fine.table), fine.first), fine.height * fine.width
        if key not in starts:
            starts[key], total = total, total + size
            tables.append(fine.table.flatten(0, -2)[fine.first : fine.first + size])
    table = torch.cat(tables)
    parts, order = [], []
    for own in {id(source.maps): source.maps for source in sources}.values():
        mine = [i for i, source in enumerate(sources) if source.maps is own]
        rows = torch.tensor([sources[i].row for i in mine]).to(own.boxes.device, non_blocking=True)
        parts.append(RegionMaps(*(tensor[rows] for tensor in own)))
        order += mine
    maps = RegionMaps(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    places = {i: row for row, i in enumerate(order)}
    return [
        source._replace(
            maps=maps,
            row=places[i],
            fine=source.fine._replace(table=table, first=starts[id(source.fine.table), source.fine.first]),
        )
        for i, source in enumerate(sources)
    ]
