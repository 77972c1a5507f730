"""The renderer: masks refined level by level, only where they are uncertain (paper section 3.1, 4.2).

One loop for eager networks, exported bundles and tests. It holds no network: a `InstanceRender` is one region's mask in
progress, with views of what it reads; `advance` takes any set of them a step further, whatever
their images, levels and targets, with one point-head call per group. A step is a level, or a part of one with more
points than a group may have. Between two steps renders may join, leave with what they have, or vanish.

Shapes: r renders of a cohort · P points · D point-head width · h side of a level
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from model.pointrend.point_head import PointHead
from model.pointrend.points import class_uncertainty, most_uncertain, neighbours, regular_grid, to_image

SIDES = (28, 56, 112, 224, 448, 896)  # what a request may ask for
COARSEST = 7  # of the coarse head's own mask; the least that `limit` leaves anything to see of
START = 28  # below this side every cell is evaluated anyway (spec of the reference: 4·14² ≤ 784)
GROUP_POINTS = 8 * 784  # a CPU is fastest when the temporaries of a call stay in its caches
SLACK = 0.01  # pixels of a box: less is lost to rounding between the image and the network's input
CELLS_A_POINT = 256  # enlarging and searching as many takes no longer than a point: 128 channels 300, 256 800


class FineMap(NamedTuple):
    """The projected fine features of one image: table [H·W, D], cell (i, j) in row i·W + j."""

    table: Tensor
    height: int
    width: int
    stride: int


class Ahead(NamedTuple):
    """A level of which some points are evaluated; cells [P] and unit points [P, 2] are left."""

    logits: Tensor  # [h, h]
    cells: Tensor
    points: Tensor


@dataclass
class InstanceRender:
    """One region's mask in progress."""

    fine: FineMap
    coarse: Tensor  # [s², L·D + 1] projected coarse prediction
    box: Tensor  # [4] in network-input pixels
    category: int
    side: int  # target
    points: int | None = None  # per level; None grows with the level's side
    logits: Tensor | None = None  # [h, h] the finest finished level
    truncated: bool = False  # the target is below what was asked for at first
    ahead: Ahead | None = None  # the next level, if a part of it is evaluated

    @property
    def level(self) -> int:
        """Side of the finest finished level; 0 before the first."""
        return 0 if self.logits is None else self.logits.shape[-1]

    @property
    def done(self) -> bool:
        return self.level >= self.side

    def next_level(self) -> tuple[int, int]:
        """Side of the next level and the work of the next step, in points."""
        side, count = level_after(self.level, self.side, self.points)
        if self.ahead is not None:
            return side, min(len(self.ahead.cells), GROUP_POINTS)
        return side, level_work(side, min(count, GROUP_POINTS))

    def limit(self, side: int) -> None:
        """Ask for less from here on: for `side`, if that is below the target, but not below what is finished."""
        target = max(side, self.level)
        if target < self.side:
            self.side, self.truncated = target, True
            if self.ahead is not None and len(self.ahead.logits) > target:
                self.ahead = None

    def probability(self) -> Tensor:
        """[h, h] foreground probability at the finest finished level."""
        if self.logits is None:
            raise ValueError("nothing is rendered yet")
        return self.logits.sigmoid()


def start_side(points: int | None) -> int:
    """The first level: the finest grid 7·2ⁿ of which `points` cover everything, as in the reference."""
    side = 7
    while points is not None and 4 * side**2 <= points:
        side *= 2
    return START if points is None else side


def auto_points(side: int) -> int:
    """Points for a level: the paper's 28² up to side 224, then in proportion to the contour's length."""
    return max(784, 784 * side // 224)


def level_after(level: int, target: int, points: int | None) -> tuple[int, int]:
    """The level that follows one (0: none yet) on the way to `target`, and how many of its cells to evaluate."""
    side = min(2 * level or start_side(points), target)
    asked = auto_points(side) if points is None else points
    return side, side**2 if level == 0 else min(asked, side**2)


def level_work(side: int, count: int) -> int:
    """What a level takes, in points to evaluate: few points do not make a large one cheap."""
    return max(count, side**2 // CELLS_A_POINT)


def total_points(side: int, points: int | None) -> int:
    """How many points a render evaluates on its way to `side`."""
    return sum(count for _, count in _levels(side, points))


def total_work(side: int, points: int | None) -> int:
    """What a render takes on its way to `side`, in points: see `level_work`."""
    return sum(level_work(level, count) for level, count in _levels(side, points))


def _levels(side: int, points: int | None) -> Iterator[tuple[int, int]]:
    level = 0
    while level < side:
        level, count = level_after(level, side, points)
        yield level, count


def native_side(width: float, height: float) -> int:
    """The least side of SIDES that gives each output pixel of a width×height box a cell of its own."""
    longest = max(width, height)
    return next((side for side in SIDES if side >= longest - SLACK), SIDES[-1])


def render(renders: Sequence[InstanceRender], head: PointHead, group_points: int = GROUP_POINTS) -> None:
    """Take every render to its target, group by group."""
    for group in _groups([r for r in renders if not r.done], group_points):
        while pending := [r for r in group if not r.done]:
            advance(pending, head, group_points)


def render_dense(
    renders: Sequence[InstanceRender], head: PointHead, group_points: int = GROUP_POINTS
) -> None:
    """The yardstick: evaluate every cell of the target grid. Costs side² points a render."""
    for r in renders:
        centres = regular_grid(r.side, r.box.device)
        parts = [_evaluate([([r], part[None])], head)[0] for part in torch.split(centres, group_points)]
        r.logits = torch.cat(parts, dim=1).view(r.side, r.side)


@torch.inference_mode()
def advance(renders: Sequence[InstanceRender], head: PointHead, group_points: int = GROUP_POINTS) -> None:
    """A step further for each of the given renders, none of which is done."""
    whole = []
    for r in renders:
        if _next(r)[1] > GROUP_POINTS:
            _advance_part(r, head)
        else:
            whole.append(r)
    for group in _groups(sorted(whole, key=_cohort), group_points):
        cohorts = []
        for _, members in groupby(group, key=_cohort):
            cohort = list(members)
            side, count = _next(cohort[0])
            cohorts.append((cohort, *_choose(cohort, side, count)))
        values = _evaluate([(cohort, points) for cohort, points, _, _ in cohorts], head)
        for (cohort, _, maps, cells), logits in zip(cohorts, values, strict=True):
            side = maps.shape[-1]
            filled = maps.flatten(1).scatter_(1, cells, logits).view(-1, side, side)
            for r, own in zip(cohort, filled, strict=True):
                r.logits = own


def _advance_part(r: InstanceRender, head: PointHead) -> None:
    """GROUP_POINTS further on a level that has more."""
    if r.ahead is None:
        points, maps, cells = _choose([r], *_next(r))
        r.ahead = Ahead(maps[0], cells[0], points[0])
    logits, cells, points = r.ahead
    now = points[None, :GROUP_POINTS]
    logits.view(-1)[cells[:GROUP_POINTS]] = _evaluate([([r], now)], head)[0][0]
    if len(cells) > GROUP_POINTS:
        r.ahead = Ahead(logits, cells[GROUP_POINTS:], points[GROUP_POINTS:])
    else:
        r.logits, r.ahead = logits, None


def _next(r: InstanceRender) -> tuple[int, int]:
    return level_after(r.level, r.side, r.points)


def _cohort(r: InstanceRender) -> tuple[int, int, int]:
    return (r.level, *_next(r))


def _groups(renders: Iterable[InstanceRender], group_points: int) -> Iterator[list[InstanceRender]]:
    """Runs of renders whose work together stays within `group_points`; one with more is a run of its own."""
    group: list[InstanceRender] = []
    total = 0
    for r in renders:
        count = r.next_level()[1]
        if group and total + count > group_points:
            yield group
            group, total = [], 0
        group.append(r)
        total += count
    if group:
        yield group


def _choose(cohort: list[InstanceRender], side: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where to look on the next level: unit points [r, P, 2], maps [r, h, h] to fill, flat cells [r, P]."""
    device = cohort[0].box.device
    if cohort[0].logits is None:
        cells = torch.arange(side**2, device=device).expand(len(cohort), -1)
        points = regular_grid(side, device).expand(len(cohort), -1, 2)
        return points, torch.empty(len(cohort), side, side, device=device), cells
    known = torch.stack([r.logits for r in cohort if r.logits is not None])
    finer = F.interpolate(known[None], size=(side, side), mode="bilinear", align_corners=False)[0]
    cells, points = most_uncertain(class_uncertainty(finer), count)
    return points, finer, cells


def _evaluate(cohorts: list[tuple[list[InstanceRender], Tensor]], head: PointHead) -> list[Tensor]:
    """Point-head logits [r, P] for every cohort with its unit points [r, P, 2], in one call."""
    hidden = head.hidden(
        torch.cat([read_fine(cohort, points) for cohort, points in cohorts]),
        coarse := torch.cat([read_coarse(cohort, points) for cohort, points in cohorts]),
    )
    sizes = [points.shape[0] * points.shape[1] for _, points in cohorts]
    logits = []
    for (cohort, points), x, last in zip(
        cohorts, torch.split(hidden, sizes), torch.split(coarse[:, -1], sizes), strict=True
    ):
        classes = torch.tensor([r.category for r in cohort], device=x.device)
        shape = points.shape[:2]
        logits.append(head.own_logits(x.view(*shape, -1), last.view(shape), classes))
    return logits


def read_fine(cohort: list[InstanceRender], points: Tensor) -> Tensor:
    """Fine projections at unit points [r, P, 2] of the renders' boxes: [r·P, D]."""
    positions = to_image(points, torch.stack([r.box for r in cohort]))
    parts, start = [], 0
    for _, members in groupby(cohort, key=lambda r: r.fine.table.data_ptr()):
        count = len(list(members))
        fine = cohort[start].fine
        xy = positions[start : start + count].reshape(-1, 2) / fine.stride
        parts.append(_interpolate(fine.table, *neighbours(xy[:, 0], xy[:, 1], fine.height, fine.width)))
        start += count
    return torch.cat(parts)


def read_coarse(cohort: list[InstanceRender], points: Tensor) -> Tensor:
    """Coarse projections at unit points [r, P, 2] of the boxes: [r·P, L·D + 1]."""
    area = cohort[0].coarse.shape[0]
    side = int(area**0.5)
    cells, weights = neighbours(points[..., 0] * side, points[..., 1] * side, side, side)
    offsets = torch.arange(len(cohort), device=cells.device)[:, None, None] * area
    table = torch.cat([r.coarse for r in cohort])
    return _interpolate(table, (cells + offsets).reshape(-1, 4), weights.reshape(-1, 4))


def _interpolate(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of four rows each: one fused gather, no copy of the neighbours. [n, 4] → [n, D]."""
    return F.embedding_bag(cells, table, mode="sum", per_sample_weights=weights)
