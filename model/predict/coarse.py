"""What the coarse pass gives: everything that the renderer needs, whoever computed it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class InstanceCoarse(NamedTuple):
    """Regions of a batch of images: detections by image, then the given boxes in their order.

    boxes [R, 4] in network-input pixels · scores [R]: the box's, or (ModelConfig.mask_score) times the mask's
    expected precision, so not sorted · classes [R] · batch [R] (which image)
    coarse [R, s², C]: the coarse prediction projected for the point head (see PointHead.project_coarse);
    for a 4×conv head the mask logits of the region's class themselves, C = 1
    fine [B, H/4, W/4, D]: the projected fine map; empty for a 4×conv head
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    batch: Tensor
    coarse: Tensor
    fine: Tensor


def no_prompts() -> tuple[Tensor, Tensor, Tensor]:
    """The three prompt arguments for "detect only"."""
    return torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
