"""The renderer of label maps: one region, K classes, refined where the two best are closest (paper section 5).

A float map of all classes is K times as large as what is wanted from it, so no level is ever stored. A level is
the one before it, enlarged, with the points that were evaluated on it; what a render keeps is the coarse
prediction and those points. Rows of a level are made when they are looked at, a band at a time, and forgotten.
A level is made in steps (model/pointrend/label_map_level.py), between which renders may join, leave or be limited.

Shapes: K classes · h, w size of a level · P points of a level · D point-head width
Levels cover the image alone: the padding of the network's input costs no points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.pointrend.label_map_level import Ahead, Level, Size, search_work
from model.pointrend.point_head import PointHead
from model.pointrend.points import cell_centres, neighbours, sample
from model.pointrend.render import GROUP_POINTS, FineMap

BAND = 2**20  # values of a band: its temporaries stay small, and in a CPU's caches


@dataclass
class LabelMapRender:
    """A label map in progress; the counterpart of `render.Render`, whose sides are heights here."""

    coarse: Tensor  # [K, h, w] logits of the base model, padding included
    fine: FineMap | None  # None: a base model alone, which has nothing to refine with
    stride: int  # of `coarse`, in network-input pixels
    extent: Size  # of the image, in network-input pixels
    target: Size  # of the map that is asked for
    points: int | None = None  # per level; None grows with the level's size
    truncated: bool = False  # the target is below what was asked for at first
    base: Tensor = field(init=False)  # [K, h, w] the coarse logits of the image alone
    levels: list[Level] = field(default_factory=list)
    ahead: Ahead | None = field(default=None, init=False)  # the next level, if it is begun

    def __post_init__(self) -> None:
        self.base = _without_padding(self.coarse, self.stride, self.extent)
        if self.fine is None:
            self.target = min(self.target, self.size)

    @property
    def size(self) -> Size:
        """Of the finest finished level: the coarse prediction's own at first."""
        return self.levels[-1].size if self.levels else (self.base.shape[1], self.base.shape[2])

    @property
    def level(self) -> int:
        """Height of the finest finished level."""
        return self.size[0]

    @property
    def side(self) -> int:
        """Height of the map that is asked for."""
        return self.target[0]

    @property
    def done(self) -> bool:
        return self.level >= self.side

    def next_level(self) -> tuple[int, int]:
        """Height of the next level and the work of the next step, in points."""
        ahead = self.ahead or self._next()
        return ahead.size[0], ahead.work

    def limit(self, side: int) -> None:
        """Ask for less from here on: for height `side`, if that is below the target, but not below the finished."""
        height = max(side, self.level)
        if height < self.side:
            width = self.size[1] if height == self.level else round(height * self.target[1] / self.side)
            self.target, self.truncated = (height, max(width, 1)), True
            if self.ahead is not None and self.ahead.size != size_after(self.size, self.target):
                self.ahead = None

    def rows(self, start: int, stop: int) -> Tensor:
        """Logits [K, stop - start, w] of rows of the finest finished level."""
        return _rows(self, len(self.levels), start, stop)

    @torch.inference_mode()
    def labels(self, height: int, width: int) -> NDArray[np.uint8]:
        """The best class of each cell of a height×width map of the image, logits interpolated where sizes differ."""
        result = np.empty((height, width), np.uint8)
        rows = _band(width, len(self.base))
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            logits = _resized(self, len(self.levels), (height, width), start, stop)
            result[start:stop] = logits.max(0).indices.numpy()  # a third of argmax's time
        return result

    def _next(self) -> Ahead:
        """The next level, not yet begun."""
        size = size_after(self.size, self.target)
        return Ahead(size, level_points(size, self.extent, self.points), _band(size[1], len(self.base)))


def size_after(size: Size, target: Size) -> Size:
    """The level that follows one of `size` on the way to `target`: twofold, or the target itself."""
    return (2 * size[0], 2 * size[1]) if 2 * size[0] < target[0] else target


def level_points(size: Size, extent: Size, points: int | None) -> int:
    """How many cells of a level are evaluated.

    Unless told, the same number up to the input's size, and beyond it in proportion to the contours' length. The
    constant is where twice as many gain next to nothing (docs/paper.md): twice the published 8,192 for 1024×2048.
    """
    asked = 16 * max(sum(size), sum(extent)) // 3 if points is None else points
    return min(asked, size[0] * size[1])


def total_points(start: Size, target: Size, extent: Size, points: int | None) -> int:
    """How many points a render evaluates on its way from the coarse prediction's size to `target`."""
    total = 0
    while start[0] < target[0]:
        start = size_after(start, target)
        total += level_points(start, extent, points)
    return total


def total_work(start: Size, target: Size, extent: Size, points: int | None) -> int:
    """The same with the searches for them, in points: what a large map costs is its search."""
    total = total_points(start, target, extent, points)
    while start[0] < target[0]:
        start = size_after(start, target)
        total += search_work(start)
    return total


def render(renders: Sequence[LabelMapRender], head: PointHead) -> None:
    """Take every render to its target."""
    for r in renders:
        while not r.done:
            advance([r], head)


@torch.inference_mode()
def advance(renders: Sequence[LabelMapRender], head: PointHead) -> None:
    """A step further for each of the given renders, none of which is done; small levels are one step.

    Cells of several renders are evaluated in one call of the point head, up to GROUP_POINTS of them.
    """
    for r in renders:
        r.ahead = r.ahead or r._next()
        start, stop = r.ahead.rows
        if start < stop:
            r.ahead = r.ahead.searched(_resized(r, len(r.levels), r.ahead.size, start, stop))
    for group in _groups(renders):
        wanted = [(r, ahead, ahead.wanted) for r, ahead in group]
        reads = [_read(r, cells, ahead.size) for r, ahead, cells in wanted]
        logits = head.class_logits(*map(torch.cat, zip(*reads, strict=True)))
        for (r, ahead, _), own in zip(
            wanted, torch.split(logits, [len(c) for _, _, c in wanted]), strict=True
        ):
            r.ahead = ahead.evaluated(own)
            if (level := r.ahead.level) is not None:
                r.levels.append(level)
                r.ahead = None


@torch.inference_mode()
def dense_labels(r: LabelMapRender, head: PointHead, group_points: int = GROUP_POINTS) -> NDArray[np.uint8]:
    """The yardstick: the point head at every cell of the target. Costs height × width points."""
    cells = torch.arange(r.target[0] * r.target[1])
    parts = [_evaluate(r, head, part, r.target).argmax(1) for part in torch.split(cells, group_points)]
    return torch.cat(parts).to(torch.uint8).view(r.target).numpy()


def _without_padding(coarse: Tensor, stride: int, extent: Size) -> Tensor:
    """The coarse logits of the image alone, resampled if it does not end with a cell."""
    height, width = (-(-side // stride) for side in extent)
    if (height * stride, width * stride) == extent:
        return coarse[:, :height, :width]
    centres = cell_centres(torch.arange(height * width), height, width).view(1, height, width, 2)
    padded = centres.new_tensor([coarse.shape[2] * stride, coarse.shape[1] * stride])
    points = centres * centres.new_tensor([extent[1], extent[0]]) / padded
    return sample(coarse[None], points, padding="border")[0]


def _band(width: int, classes: int) -> int:
    """Rows of a band."""
    return max(BAND // (classes * width), 1)


def _groups(renders: Sequence[LabelMapRender]) -> Iterator[list[tuple[LabelMapRender, Ahead]]]:
    """Those that want cells to be evaluated; of a group together at most GROUP_POINTS."""
    group: list[tuple[LabelMapRender, Ahead]] = []
    total = 0
    for r in renders:
        if r.ahead is None or not (count := len(r.ahead.wanted)):
            continue
        if total + count > GROUP_POINTS:
            yield group
            group, total = [], 0
        group.append((r, r.ahead))
        total += count
    if group:
        yield group


def _rows(r: LabelMapRender, depth: int, start: int, stop: int) -> Tensor:
    """Logits [K, stop - start, w] of rows of the level at `depth`; 0 is the coarse prediction."""
    if depth == 0:
        return r.base[:, start:stop]
    level = r.levels[depth - 1]
    width = level.size[1]
    logits = _resized(r, depth - 1, level.size, start, stop)
    first, last = torch.searchsorted(level.cells, torch.tensor([start * width, stop * width])).tolist()
    logits.flatten(1)[:, level.cells[first:last] - start * width] = level.logits[first:last].T
    return logits


def _resized(r: LabelMapRender, depth: int, size: Size, start: int, stop: int) -> Tensor:
    """Rows of the level at `depth`, brought to another size by bilinear interpolation."""
    height, width = r.levels[depth - 1].size if depth else (r.base.shape[1], r.base.shape[2])
    if (height, width) == size:
        return _rows(r, depth, start, stop)
    y = ((torch.arange(start, stop) + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
    top = y.long()
    bottom = (top + 1).clamp(max=height - 1)
    first = int(top[0])
    band = _rows(r, depth, first, int(bottom[-1]) + 1)
    upper, lower = band.index_select(1, top - first), band.index_select(1, bottom - first)
    between = torch.lerp(upper, lower, (y - top)[:, None])
    wide = F.interpolate(between.view(1, -1, width), size=size[1], mode="linear", align_corners=False)
    return wide.view(len(band), stop - start, size[1])


def _evaluate(r: LabelMapRender, head: PointHead, cells: Tensor, size: Size) -> Tensor:
    """Point-head logits [P, K] at cells of a grid of `size` over the image."""
    return head.class_logits(*_read(r, cells, size))


def _read(r: LabelMapRender, cells: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Fine projections [P, D] and coarse logits [P, K] there."""
    if r.fine is None:
        raise ValueError("a base model alone has no point head to evaluate")
    positions = cell_centres(cells, *size) * torch.tensor([r.extent[1], r.extent[0]])
    xy = positions / r.fine.stride
    where, weights = neighbours(xy[:, 0], xy[:, 1], r.fine.height, r.fine.width)
    fine = F.embedding_bag(where, r.fine.table, mode="sum", per_sample_weights=weights)
    padded = positions.new_tensor([r.coarse.shape[2] * r.stride, r.coarse.shape[1] * r.stride])
    coarse = sample(r.coarse[None], (positions / padded)[None])[0].T
    return fine, coarse
