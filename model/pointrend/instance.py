"""Renders of instance masks: one class, refined where its logit is closest to 0 (paper sections 3.1 and 4.2).

Shapes:  r renders of a cohort · P points of each · L·D + 1 columns of a coarse projection · h side of a level
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from model.pointrend.features import FineMap, interpolate, read_fine
from model.pointrend.levels import level_after, level_work
from model.pointrend.point_head import PointHead
from model.pointrend.points import class_uncertainty, most_uncertain, neighbours, regular_grid, to_image
from model.pointrend.render import GROUP_POINTS, Cohort, evaluate


class Unevaluated(NamedTuple):
    """A level of one render that is evaluated in several steps: the points that are left."""

    logits: Tensor  # [h, h], the level itself, filled in step by step
    cells: Tensor  # [P] flat indices
    points: Tensor  # [P, 2] the centres of these cells as unit points


@dataclass
class InstanceRender:
    """One instance's mask in progress, with views of the maps that it reads."""

    fine: FineMap
    coarse: Tensor  # [s², L·D + 1] projected coarse prediction (see PointHead.project_coarse)
    box: Tensor  # [4] (x0, y0, x1, y1) in network-input pixels
    category: int
    target: int  # side
    points: int | None = None  # per level; None: as many as the side of the level needs
    logits: Tensor | None = None  # [h, h] the finest finished level
    truncated: bool = False
    unevaluated: Unevaluated | None = None  # what is left of the next level, if a part of it is evaluated

    @property
    def level(self) -> int:
        """The side of the finest finished level; 0 before the first."""
        return 0 if self.logits is None else self.logits.shape[-1]

    @property
    def done(self) -> bool:
        return self.level >= self.target

    @property
    def memory(self) -> int:
        """Bytes of the logits at the target, with those of the level before, which is half as wide."""
        return 5 * self.target**2

    def next_level(self, group_points: int = GROUP_POINTS) -> tuple[int, int]:
        """Return the side of the next level, and the work of the next step in points."""
        side, count = level_after(self.level, self.target, self.points)
        if self.unevaluated is not None:
            return side, min(len(self.unevaluated.cells), group_points)
        return side, level_work(side, min(count, group_points))

    def limit(self, side: int) -> None:
        """Lower the target to `side`, but not below what is finished. A higher `side` changes nothing."""
        target = max(side, self.level)
        if target < self.target:
            self.target, self.truncated = target, True
            if self.unevaluated is not None and len(self.unevaluated.logits) > target:
                self.unevaluated = None

    def cohort(self, group_points: int) -> Cohort:
        """Return a key that renders between the same two levels share, unless a level takes this one several steps."""
        side, count = level_after(self.level, self.target, self.points)
        alone = self.unevaluated is not None or count > group_points
        return self.level, side, count, id(self) if alone else 0

    @staticmethod
    def search(cohort: Sequence[InstanceRender], group_points: int) -> InstanceStep:
        """Choose the most uncertain cells of the next level, or every cell of the first one."""
        first = cohort[0]
        if first.unevaluated is not None:
            logits, cells, points = first.unevaluated
            return InstanceStep(cohort, logits[None], cells[None], points[None]).part(group_points)
        side, count = level_after(first.level, first.target, first.points)
        device = first.box.device
        if first.logits is None:
            cells = torch.arange(side**2, device=device).expand(len(cohort), -1)
            points = regular_grid(side, device).expand(len(cohort), -1, 2)
            maps = torch.empty(len(cohort), side, side, device=device)
        else:
            known = torch.stack([r.logits for r in cohort if r.logits is not None])
            maps = F.interpolate(known[None], size=(side, side), mode="bilinear", align_corners=False)[0]
            cells, points = most_uncertain(class_uncertainty(maps), count)
        return InstanceStep(cohort, maps, cells, points).part(group_points)

    def probability(self) -> Tensor:
        """Return the foreground probability [h, h] at the finest finished level. Raise ValueError if there is none."""
        if self.logits is None:
            raise ValueError("nothing is rendered yet")
        return self.logits.sigmoid()


@dataclass
class InstanceStep:
    """A cohort's next level: the previous one enlarged, and the points that are evaluated on it now."""

    renders: Sequence[InstanceRender]
    maps: Tensor  # [r, h, h]
    cells: Tensor  # [r, P] flat indices
    points: Tensor  # [r, P, 2] the centres of these cells as unit points
    rest: Unevaluated | None = None  # points of a lone render that are left for later steps
    coarse: Tensor | None = None  # [r·P, L·D + 1]

    def part(self, most: int) -> InstanceStep:
        """Return this step, with the points of a lone render beyond `most` left for later steps."""
        if len(self.renders) > 1 or self.cells.shape[1] <= most:
            return self
        rest = Unevaluated(self.maps[0], self.cells[0, most:], self.points[0, most:])
        return InstanceStep(self.renders, self.maps, self.cells[:, :most], self.points[:, :most], rest)

    @property
    def count(self) -> int:
        return self.cells.numel()

    def read(self, head: PointHead) -> tuple[Tensor, Tensor]:
        """Return fine features [r·P, D] and coarse projections [r·P, L·D + 1] at the points."""
        self.coarse = self._read_coarse()
        return self._read_fine(), self.coarse

    def write(self, head: PointHead, hidden: Tensor) -> None:
        """Fill in the logits of each render's own class."""
        assert self.coarse is not None
        shape = self.cells.shape
        classes = torch.tensor([r.category for r in self.renders], device=hidden.device)
        logits = head.own_logits(hidden.view(*shape, -1), self.coarse[:, -1].view(shape), classes)
        self.maps.flatten(1).scatter_(1, self.cells, logits)
        for render, own in zip(self.renders, self.maps, strict=True):
            render.unevaluated = self.rest
            if self.rest is None:
                render.logits = own

    def _read_fine(self) -> Tensor:
        positions = to_image(self.points, torch.stack([r.box for r in self.renders]))
        parts, start = [], 0
        for _, members in groupby(self.renders, key=lambda r: r.fine.table.data_ptr()):  # image by image
            stop = start + len(list(members))
            parts.append(read_fine(self.renders[start].fine, positions[start:stop].reshape(-1, 2)))
            start = stop
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _read_coarse(self) -> Tensor:
        area = self.renders[0].coarse.shape[0]
        side = int(area**0.5)
        cells, weights = neighbours(self.points[..., 0] * side, self.points[..., 1] * side, side, side)
        offsets = torch.arange(len(self.renders), device=cells.device)[:, None, None] * area
        table = torch.cat([r.coarse for r in self.renders])
        return interpolate(table, (cells + offsets).reshape(-1, 4), weights.reshape(-1, 4))


@torch.inference_mode()
def render_dense(
    renders: Sequence[InstanceRender], head: PointHead, group_points: int = GROUP_POINTS
) -> None:
    """Evaluate every cell of each render's target, side² points. Adaptive rendering is compared with this."""
    for r in renders:
        centres = regular_grid(r.target, r.box.device)
        cells = torch.arange(r.target**2, device=r.box.device)
        maps = torch.empty(1, r.target, r.target, device=r.box.device)
        for own, points in zip(
            torch.split(cells, group_points), torch.split(centres, group_points), strict=True
        ):
            evaluate([InstanceStep([r], maps, own[None], points[None])], head)
