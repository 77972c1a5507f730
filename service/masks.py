"""A finished mask, free of the maps it was rendered from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.paste import Crop, paste
from model.predict import Region


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


def finished(region: Region) -> Mask:
    """Of a region whose render is done. Raises ValueError if nothing of it is rendered."""
    render = region.render
    if render.logits is None:
        raise ValueError("nothing is rendered yet")
    logits = render.logits.clone()  # a render's own are a view of the tensor that its whole group shares
    return Mask(region.category, region.score, region.box, logits, render.points, render.truncated)
