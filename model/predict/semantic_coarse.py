"""What the coarse pass of semantic segmentation gives: everything that label maps are rendered from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LabelMapCoarse(NamedTuple):
    """Of a batch: the base model's logits, and the point head's projection of the fine features."""

    coarse: Tensor  # [B, K, H/s, W/s]
    fine: Tensor | None  # [B, H/4, W/4, D]; None for a base model alone
