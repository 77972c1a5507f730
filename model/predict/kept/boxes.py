"""The features of a picture, from which boxes of it are segmented later: what the network computes before any box.

Shapes:  C channels of the pyramid · D point-head width · s stride of a level
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.predict.coarse import FEATURES
from model.predict.predictor import Prepared, Prompt, Run


@dataclass(frozen=True)
class BoxRuns:
    """The passes of a model that segments boxes of kept pictures."""

    features: Run  # a coarse pass that returns FEATURES, too
    boxes: Run  # a box pass: FEATURES, prompts and prompt_class → `BoxCoarse`


@dataclass(frozen=True, eq=False)
class Features:
    """What a coarse pass computed of one picture before it looked at any box."""

    pyramid: tuple[Tensor, ...]  # [1, C, H/s, W/s] of strides 4 to 32, padding included
    fine: Tensor  # [1, H/4, W/4, D]
    extent: tuple[int, int]  # height and width of the picture in the network's input, without padding
    width: int  # of the picture
    height: int

    @staticmethod
    def of(pyramid: Sequence[Tensor], fine: Tensor, index: int, prepared: Prepared) -> Features:
        """Return the features of image `index` of a batch. They are views of the batch's."""
        rows, columns = prepared.pixels.shape[1:]
        own = tuple(level[index : index + 1] for level in pyramid)
        return Features(own, fine[index : index + 1], (rows, columns), prepared.width, prepared.height)

    def copied(self, fine: Tensor | None = None) -> Features:
        """Return the features with tensors of their own; `fine` is used instead of a copy of the fine map."""
        own = tuple(level.clone() for level in self.pyramid)
        fine = self.fine.clone() if fine is None else fine.view(self.fine.shape)
        return replace(self, pyramid=own, fine=fine)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The features by their names as inputs of a box pass."""
        return dict(zip(FEATURES, self.pyramid, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.fine.nbytes + sum(level.nbytes for level in self.pyramid)

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = self.pyramid[-1].shape[2:]
        return 32 * height, 32 * width

    def prepared(self, prompts: tuple[Prompt, ...], *, keep: bool) -> Prepared:
        """Return the picture with boxes to segment, as a box pass needs it: its pixels are not known any more."""
        pixels = torch.empty(3, *self.extent, dtype=torch.uint8, device="meta")
        return Prepared(pixels, self.width, self.height, prompts, keep=keep)
