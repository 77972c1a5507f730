"""Renders of label maps: the best of K classes, refined where the two best are closest (paper section 5).

A float map of all classes is K times as large as the labels, so no level is ever stored as one. A level is the one
before it, enlarged, with the points that were evaluated on it (`Pyramid`).

Shapes:  K classes · h, w size of a map · n points · D point-head width
Levels cover the image alone: the padding of the network's input costs no points.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.pointrend.features import FineMap, read_fine
from model.pointrend.label_map_levels import Size, level_points, size_after, total_points, window_start
from model.pointrend.label_map_pyramid import Pyramid
from model.pointrend.label_map_search import UnfinishedLevel
from model.pointrend.point_head import PointHead
from model.pointrend.points import cell_centres, sample
from model.pointrend.render import GROUP_POINTS, Cohort


@dataclass
class LabelMapRender:
    """One image's label map in progress. The renderer's sides are heights here."""

    coarse: Tensor  # [K, h, w] logits of the base model, padding included
    fine: FineMap | None  # None: a base model alone, which has no point head
    stride: int  # of `coarse`, in network-input pixels
    extent: tuple[float, float]  # height and width of the image or of its window, in network-input pixels
    target_size: Size  # of the map that is asked for
    points: int | None = None  # per level; None: as many as the size of the level needs
    truncated: bool = False
    # (x, y) of the window's corner in network-input pixels; None: the whole image is rendered.
    corner: tuple[float, float] | None = None
    pyramid: Pyramid = field(init=False)  # what is finished
    next: UnfinishedLevel | None = field(default=None, init=False)  # the next level, if it is begun

    def __post_init__(self) -> None:
        if self.corner is None:
            height, width = map(round, self.extent)
            base = _without_padding(self.coarse, self.stride, (height, width))
        else:
            base = self._sampled(window_start(self.extent, self.stride, self.target_size))
        self.pyramid = Pyramid(base)
        if self.fine is None:
            self.target_size = min(self.target_size, self.size)

    @property
    def size(self) -> Size:
        """The size of the finest finished level; at first the coarse prediction's own."""
        return self.pyramid.size

    @property
    def level(self) -> int:
        """The height of the finest finished level."""
        return self.size[0]

    @property
    def target(self) -> int:
        """The height of the map that is asked for."""
        return self.target_size[0]

    @property
    def done(self) -> bool:
        return self.level >= self.target

    @property
    def memory(self) -> int:
        """Bytes of the points' logits and places, and of the labels, twice: as a map and as what is searched."""
        start = (self.pyramid.base.shape[1], self.pyramid.base.shape[2])
        points = total_points(start, self.target_size, self.extent, self.points)
        return points * (4 * len(self.coarse) + 8) + 2 * self.target_size[0] * self.target_size[1]

    def next_level(self, group_points: int = GROUP_POINTS) -> tuple[int, int]:
        """Return the height of the next level, and the work of the next step in points."""
        level = self.next or self._begin()
        return level.size[0], level.work(group_points)

    def limit(self, side: int) -> None:
        """Lower the target to height `side`, but not below what is finished. A higher `side` changes nothing."""
        height = max(side, self.level)
        if height < self.target:
            full_height, full_width = self.target_size
            width = self.size[1] if height == self.level else round(height * full_width / full_height)
            self.target_size, self.truncated = (height, max(width, 1)), True
            if self.next is not None and self.next.size != size_after(self.size, self.target_size):
                self.next = None

    def snapshot(self) -> LabelMapRender:
        """Return a render with the levels that are finished now."""
        same = copy(self)
        same.pyramid = Pyramid(self.pyramid.base, list(self.pyramid.levels))
        return same

    def cohort(self, group_points: int) -> Cohort:
        """Return a key of its own: each label map is searched alone, and only point-head calls are shared."""
        return (id(self),)

    @staticmethod
    def share(renders: Sequence[LabelMapRender]) -> None:
        """Do nothing: a level of a label map is large enough for launches not to count."""

    @staticmethod
    def search(cohort: Sequence[LabelMapRender], group_points: int) -> LabelMapStep:
        """Search a band of the next level's rows. After the last band, choose cells to evaluate."""
        (render,) = cohort
        level = render.next or render._begin()
        start, stop = level.rows
        if start < stop:
            level = level.searched(render.pyramid.resized(level.size, start, stop))
        render.next = level
        return LabelMapStep(render, level.size, level.wanted(group_points))

    def positions(self, points: Tensor) -> Tensor:
        """Return unit points [..., 2] of what is rendered in network-input pixels."""
        height, width = self.extent
        if self.corner is None:
            return points * points.new_tensor([width, height])
        return points.new_tensor(self.corner) + points * points.new_tensor([width, height])

    def in_coarse(self, positions: Tensor) -> Tensor:
        """Return positions [..., 2] in network-input pixels as unit points of the coarse prediction and its padding."""
        _, height, width = self.coarse.shape
        return positions / positions.new_tensor([width * self.stride, height * self.stride])

    def _sampled(self, size: Size) -> Tensor:
        """Return the coarse logits [K, h, w] at the cells of a level of this size."""
        cells = torch.arange(size[0] * size[1], device=self.coarse.device)
        points = self.in_coarse(self.positions(cell_centres(cells, *size)))
        return sample(self.coarse[None], points.view(1, *size, 2), padding="border")[0]

    def _begin(self) -> UnfinishedLevel:
        size = size_after(self.size, self.target_size)
        count = level_points(size, self.extent, self.points)
        return UnfinishedLevel(size, count, self.pyramid.band(size[1]))


@dataclass
class LabelMapStep:
    """Cells of a label map's next level that are evaluated now."""

    render: LabelMapRender
    size: Size  # of the level
    cells: Tensor  # [n] flat indices
    coarse: Tensor | None = None  # [n, K]

    @property
    def count(self) -> int:
        return len(self.cells)

    def read(self, head: PointHead) -> Tensor:
        """Return fine features [n, D] at the cells' centres."""
        render = self.render
        if render.fine is None:
            raise ValueError("a base model alone has no point head to evaluate")
        positions = render.positions(cell_centres(self.cells, *self.size))
        fine = read_fine(render.fine, positions)
        self.coarse = sample(render.coarse[None], render.in_coarse(positions)[None])[0].T
        return fine

    def term(self, head: PointHead, layer: int) -> Tensor:
        """Return what the coarse prediction adds to a hidden layer, with its bias: [n, D].

        The coarse logits are not projected in advance: at a point, a product with K columns costs less than reading D.
        """
        assert self.coarse is not None
        return head.coarse_term(self.coarse, layer)

    def write(self, head: PointHead, hidden: Tensor) -> None:
        """Store the logits of all classes, and the level once all of its cells are evaluated."""
        assert self.render.next is not None
        level = self.render.next.evaluated(self.logits(head, hidden))
        self.render.next = level
        if (finished := level.finished) is not None:
            self.render.pyramid.levels.append(finished)
            self.render.next = None

    def logits(self, head: PointHead, hidden: Tensor) -> Tensor:
        """Return logits [n, K] from the head's hidden features [n, D] after `read`."""
        assert self.coarse is not None
        return head.all_logits(hidden, self.coarse)


@torch.inference_mode()
def dense_labels(
    render: LabelMapRender, head: PointHead, group_points: int = GROUP_POINTS
) -> NDArray[np.uint8]:
    """Evaluate every cell of the target, height × width points. Adaptive rendering is compared with this."""
    parts = []
    every = torch.arange(render.target_size[0] * render.target_size[1], device=render.coarse.device)
    for cells in torch.split(every, group_points):
        step = LabelMapStep(render, render.target_size, cells)
        hidden = head.hidden(step.read(head), partial(step.term, head))
        parts.append(step.logits(head, hidden).argmax(1))
    return torch.cat(parts).to(torch.uint8).view(render.target_size).cpu().numpy()


def _without_padding(coarse: Tensor, stride: int, extent: Size) -> Tensor:
    """Return the coarse logits of the image alone, resampled if the image does not end with a cell."""
    height, width = (-(-side // stride) for side in extent)
    if (height * stride, width * stride) == extent:
        return coarse[:, :height, :width]
    cells = torch.arange(height * width, device=coarse.device)
    centres = cell_centres(cells, height, width).view(1, height, width, 2)
    padded = centres.new_tensor([coarse.shape[2] * stride, coarse.shape[1] * stride])
    points = centres * centres.new_tensor([extent[1], extent[0]]) / padded
    return sample(coarse[None], points, padding="border")[0]
