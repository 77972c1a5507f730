"""Finished masks and label maps, free of the maps they were rendered from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.masks.paste import Crop, paste
from model.pointrend.label_map import LabelMapRender
from model.predict.instance import Region
from model.predict.label_map import label_map


@dataclass(frozen=True, eq=False)
class Mask:
    """One instance. Holds its logits only: a render would keep the fine map of its whole batch in memory."""

    category: int  # index
    score: float
    box: NDArray[np.float32]  # [4] x0, y0, x1, y1 in image pixels
    logits: Tensor  # [side, side]
    points: int | None  # evaluated per level; None: as many as the level needs
    truncated: bool  # coarser than what was asked for

    @property
    def side(self) -> int:
        return self.logits.shape[-1]

    def crop(self, width: int, height: int) -> Crop:
        """As the pixels of its box in a width×height image."""
        return paste(self.logits.sigmoid().numpy(), self.box.tolist(), width, height)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The class of every pixel."""

    render: LabelMapRender  # without its fine map
    asked: tuple[int, int]  # height and width of the map that was asked for
    classes: frozenset[int] | None  # indices; None: all
    points: int | None  # evaluated per level; None: as many as the level needs

    @property
    def side(self) -> int:
        """Height that was achieved."""
        return self.render.level

    @property
    def truncated(self) -> bool:
        return self.render.truncated

    def labels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Class indices [height, width]; VOID where the class was not asked for."""
        return label_map(self.render, height, width, self.classes)


Findings = tuple[Mask, ...] | LabelMap


def finished(region: Region) -> Mask:
    """Of a region whose render is done. Raises ValueError if nothing of it is rendered."""
    render = region.render
    if render.logits is None:
        raise ValueError("nothing is rendered yet")
    logits = render.logits.clone()  # a render's own are a view of the tensor that its whole group shares
    return Mask(region.category, region.score, region.box, logits, render.points, render.truncated)
