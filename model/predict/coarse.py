"""What the coarse pass of each task returns: everything that the renderer needs.

Shapes:  B images · R regions · K classes · D point-head width · L·D + 1 columns of a coarse projection
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class InstanceCoarse(NamedTuple):
    """The regions of a batch of images: the detections image by image, then the given boxes in their order."""

    boxes: Tensor  # [R, 4] in network-input pixels
    # [R] The box head's score; with `MaskRCNNConfig.mask_score` times the expected precision of the coarse mask, so
    # that scores are not sorted.
    scores: Tensor
    classes: Tensor  # [R] indices
    batch: Tensor  # [R] which image
    # [R, s², L·D + 1] The coarse masks as `PointHead.project_coarse` gives them. For a 4×conv head: the logits of the
    # region's class themselves, [R, s², 1].
    coarse: Tensor
    fine: Tensor  # [B, H/4, W/4, D] The projected fine maps; empty for a 4×conv head.


class LabelMapCoarse(NamedTuple):
    """The base model's logits of a batch, and the point head's projection of the fine features."""

    coarse: Tensor  # [B, K, H/s, W/s]
    fine: Tensor | None = None  # [B, H/4, W/4, D]; None for a base model alone


def no_prompts() -> dict[str, Tensor]:
    """Return the inputs of a coarse pass that say: detect, and segment no given boxes."""
    return {
        "prompts": torch.zeros(0, 4),
        "prompt_batch": torch.zeros(0, dtype=torch.int64),
        "prompt_class": torch.zeros(0, dtype=torch.int64),
    }
