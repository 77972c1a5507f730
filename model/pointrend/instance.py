"""Renders of instance masks: one class, refined where its logit is closest to 0 (paper sections 3.1 and 4.2).

A render is a few numbers that the host needs to know. Its tensors are rows of tensors of all renders that took the same
step, so a step is a fixed number of operations, however many renders take it.

Shapes:  r renders of a cohort · P points of each · h, w rows and columns of a level; its side is the larger of both
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from model.pointrend.evaluated import Evaluated
from model.pointrend.levels import level_after, level_work, total_points
from model.pointrend.point_head import PointHead
from model.pointrend.points import cell_centres, class_uncertainty, most_uncertain
from model.pointrend.regions import CoarseTerms, Reader, Source, joined
from model.pointrend.render import GROUP_POINTS, Cohort, evaluate


class Unevaluated(NamedTuple):
    """A level of one render that is evaluated in several steps: the points that are left."""

    logits: Tensor  # [h, w], the level itself, filled in step by step
    cells: Tensor  # [P] flat indices
    points: Tensor  # [P, 2] the centres of these cells as unit points


@dataclass
class InstanceRender:
    """One instance's mask in progress."""

    source: Source
    category: int
    target: int  # side
    points: int | None = None  # per level; None: as many as the side of the level needs
    frame: tuple[int, int] | None = None  # rows and columns of the target; None: a square
    truncated: bool = False
    finished: Tensor | None = None  # [r, h, w] the finest finished level, of all renders that took this step
    row: int = 0  # of `finished`
    unevaluated: Unevaluated | None = None  # what is left of the next level, if a part of it is evaluated
    evaluated: Evaluated | None = None  # the cells of all levels so far, if the mask shall be explained

    @property
    def logits(self) -> Tensor | None:
        """The finest finished level, [h, w]. It is a view of its whole step's."""
        return None if self.finished is None else self.finished[self.row]

    @logits.setter
    def logits(self, logits: Tensor) -> None:
        self.finished, self.row = logits[None], 0

    @property
    def level(self) -> int:
        """The side of the finest finished level; 0 before the first."""
        return 0 if self.finished is None else max(self.finished.shape[-2:])

    def size(self, side: int) -> tuple[int, int]:
        """Return the rows and columns of the level of this side."""
        if self.frame is None:
            return side, side
        rows, columns = (-(-each * side // max(self.frame)) for each in self.frame)
        return rows, columns

    @property
    def done(self) -> bool:
        return self.level >= self.target

    @property
    def device(self) -> torch.device:
        return self.source.maps.boxes.device

    @property
    def memory(self) -> int:
        """Bytes of the logits at the target, with those of the level before, which is half as wide.

        Those of all evaluated cells are added if they are kept.
        """
        kept = 0 if self.evaluated is None else total_points(self.target, self.points)
        return 5 * math.prod(self.size(self.target)) + 4 * kept

    def next_level(self, group_points: int = GROUP_POINTS) -> tuple[int, int]:
        """Return the side of the next level, and the work of the next step in points."""
        side, count = self._next()
        if self.unevaluated is not None:
            return side, min(len(self.unevaluated.cells), group_points)
        return side, level_work(side, min(count, group_points))

    def _next(self) -> tuple[int, int]:
        """Return the side of the next level, and the number of its cells to evaluate."""
        side, count = level_after(self.level, self.target, self.points)
        return side, min(count, math.prod(self.size(side)))

    def limit(self, side: int) -> None:
        """Lower the target to `side`, but not below what is finished. A higher `side` changes nothing."""
        target = max(side, self.level)
        if target < self.target:
            self.target, self.truncated = target, True
            if self.unevaluated is not None and max(self.unevaluated.logits.shape) > target:
                self.unevaluated = None
                self.evaluated = self.evaluated and self.evaluated.without_next()

    def cohort(self, group_points: int) -> Cohort:
        """Return a key of renders that share their tensors and are between the same two levels.

        A level that takes several steps is a cohort of its own.
        """
        side, count = self._next()
        alone = self.unevaluated is not None or count > group_points
        tensors = id(self.source.maps.coarse), id(self.source.fine.table)
        return self.level, side, self.frame, count, tensors, id(self) if alone else 0

    @staticmethod
    def share(renders: Sequence[InstanceRender]) -> None:
        """Let renders of several coarse passes read from common tensors, if they are on an accelerator.

        It copies their maps once, and then a level costs one launch of each operation. On a CPU a copy costs more.
        """
        sources = [r.source for r in renders]
        passes = {(id(source.maps.coarse), id(source.fine.table)) for source in sources}
        if len(passes) > 1 and renders[0].device.type != "cpu":
            for r, source in zip(renders, joined(sources), strict=True):
                r.source = source

    @staticmethod
    def search(cohort: Sequence[InstanceRender], group_points: int) -> InstanceStep:
        """Choose the most uncertain cells of the next level, or every cell of the first one."""
        first = cohort[0]
        if first.unevaluated is not None:
            logits, cells, points = first.unevaluated
            return InstanceStep(cohort, logits[None], cells[None], points[None]).part(group_points)
        side, count = first._next()
        rows, columns = first.size(side)
        device = first.device
        if first.finished is None:
            cells = torch.arange(rows * columns, device=device).expand(len(cohort), -1)
            points = cell_centres(cells, rows, columns)
            maps = torch.empty(len(cohort), rows, columns, device=device)
        else:
            cohort = sorted(cohort, key=lambda r: (id(r.finished), r.row))
            maps = F.interpolate(
                _finished(cohort)[None], size=(rows, columns), mode="bilinear", align_corners=False
            )[0]
            cells, points = most_uncertain(class_uncertainty(maps), count)
        return InstanceStep(cohort, maps, cells, points).part(group_points)

    def probability(self) -> Tensor:
        """Return the foreground probability [h, w] at the finest finished level. Raise ValueError if there is none."""
        if self.logits is None:
            raise ValueError("nothing is rendered yet")
        return self.logits.sigmoid()


@dataclass
class InstanceStep:
    """A cohort's next level: the previous one enlarged, and the points that are evaluated on it now."""

    renders: Sequence[InstanceRender]
    maps: Tensor  # [r, h, w]
    cells: Tensor  # [r, P] flat indices
    points: Tensor  # [r, P, 2] the centres of these cells as unit points
    rest: Unevaluated | None = None  # points of a lone render that are left for later steps
    coarse: CoarseTerms | None = None
    classes: Tensor | None = None  # [r]

    def part(self, most: int) -> InstanceStep:
        """Return this step, with the points of a lone render beyond `most` left for later steps."""
        if len(self.renders) > 1 or self.cells.shape[1] <= most:
            return self
        rest = Unevaluated(self.maps[0], self.cells[0, most:], self.points[0, most:])
        return InstanceStep(self.renders, self.maps, self.cells[:, :most], self.points[:, :most], rest)

    @property
    def count(self) -> int:
        return self.cells.numel()

    def read(self, head: PointHead) -> Tensor:
        """Return the fine features [r·P, D] at the points."""
        reader = Reader([r.source for r in self.renders])
        self.coarse, self.classes = reader.coarse(self.points), reader.classes
        return reader.fine(self.points)

    def term(self, head: PointHead, layer: int) -> Tensor:
        """Return what the coarse predictions add to a hidden layer at the points, with its bias: [r·P, D]."""
        assert self.coarse is not None
        return self.coarse.term(head, layer)

    def write(self, head: PointHead, hidden: Tensor) -> None:
        """Fill in the logits of each render's own class."""
        assert self.coarse is not None and self.classes is not None
        shape = self.cells.shape
        logits = head.own_logits(hidden.view(*shape, -1), self.coarse.logits.view(shape), self.classes)
        self.maps.flatten(1).scatter_(1, self.cells, logits)
        for row, render in enumerate(self.renders):
            render.unevaluated = self.rest
            if render.evaluated is not None:
                side, cells = max(self.maps.shape[-2:]), self.cells[row]
                render.evaluated = render.evaluated.after(side, cells, complete=self.rest is None)
            if self.rest is None:
                render.finished, render.row = self.maps, row


def finest(renders: Sequence[InstanceRender]) -> Tensor:
    """Return the finest finished levels of renders of any sides, one after another: [Σ h·w].

    Raise ValueError if one has none. One gather for each tensor that they come from.
    """
    if not all(r.level for r in renders):
        raise ValueError("nothing is rendered yet")
    order = sorted(range(len(renders)), key=lambda i: id(renders[i].finished))
    levels: dict[int, Tensor] = {}
    for _, group in groupby(order, key=lambda i: id(renders[i].finished)):
        own = list(group)
        levels |= zip(own, _rows([renders[i] for i in own]).flatten(1), strict=True)
    return torch.cat([levels[i] for i in range(len(renders))]) if renders else torch.empty(0)


def _finished(renders: Sequence[InstanceRender]) -> Tensor:
    """Return the finest finished levels [r, h, w] of renders of one size, which are in the order of their tensors."""
    parts = [_rows(list(group)) for _, group in groupby(renders, key=lambda r: id(r.finished))]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _rows(renders: Sequence[InstanceRender]) -> Tensor:
    """Return the finest finished levels [r, h, w] of renders that took this step together."""
    whole, rows = renders[0].finished, [r.row for r in renders]
    assert whole is not None
    if rows == list(range(len(whole))):
        return whole
    return whole[torch.tensor(rows).to(whole.device, non_blocking=True)]


@torch.inference_mode()
def render_dense(
    renders: Sequence[InstanceRender], head: PointHead, group_points: int = GROUP_POINTS
) -> None:
    """Evaluate every cell of each render's target. Adaptive rendering is compared with this."""
    for r in renders:
        device = r.device
        rows, columns = r.size(r.target)
        maps = torch.empty(1, rows, columns, device=device)
        for own in torch.split(torch.arange(rows * columns, device=device), group_points):
            points = cell_centres(own, rows, columns)
            evaluate([InstanceStep([r], maps, own[None], points[None])], head)
