"""What the coarse pass of each task returns: everything that the renderer needs.

Shapes:  B images · R regions · K classes · D point-head width · L·D + 1 columns of a coarse projection
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

# Outputs of a coarse pass with a point head, if they are asked for: the pyramid's P2–P5, [B, C, H/s, W/s] of strides
# s from 4 to 32. They are inputs of a box pass.
FEATURES = tuple(f"pyramid.{level}" for level in range(4))


class InstanceCoarse(NamedTuple):
    """The regions of a batch of images: the detections image by image, then the given boxes in their order."""

    boxes: Tensor  # [R, 4] in network-input pixels
    # [R] The box head's score; with `MaskRCNNConfig.mask_score` times the expected precision of the coarse mask, so
    # scores are not sorted.
    scores: Tensor
    classes: Tensor  # [R] indices
    batch: Tensor  # [R] which image
    # [R, s², L·D + 1] The coarse masks as `PointHead.project_coarse` gives them. For a 4×conv head: the logits of the
    # region's class themselves, [R, s², 1].
    coarse: Tensor
    fine: Tensor  # [B, H/4, W/4, D] The projected fine maps; empty for a 4×conv head.
    pyramid: tuple[Tensor, ...] | None = None  # FEATURES, if they were asked for


class BoxCoarse(NamedTuple):
    """What a box pass finds in the features of one image: a region for each of Q given boxes, in their order."""

    scores: Tensor  # [Q] as in `InstanceCoarse`
    classes: Tensor  # [Q] indices: those that were given, or the box head's choice
    coarse: Tensor  # [Q, s², L·D + 1]


class LabelMapCoarse(NamedTuple):
    """The base model's logits of a batch, and the point head's projection of the fine features."""

    coarse: Tensor  # [B, K, H/s, W/s]
    fine: Tensor | None = None  # [B, H/4, W/4, D]; None for a base model alone


def instance_coarse(found: Mapping[str, Tensor]) -> InstanceCoarse:
    """Return the named outputs of a coarse pass, with the features if they are among them."""
    features = tuple(found[name] for name in FEATURES if name in found)
    boxes, scores, classes, batch, coarse, fine = (found[name] for name in InstanceCoarse._fields[:6])
    return InstanceCoarse(boxes, scores, classes, batch, coarse, fine, features or None)


def no_prompts() -> dict[str, Tensor]:
    """Return the inputs of a coarse pass that say: detect, and segment no given boxes."""
    return {
        "prompts": torch.zeros(0, 4),
        "prompt_batch": torch.zeros(0, dtype=torch.int64),
        "prompt_class": torch.zeros(0, dtype=torch.int64),
    }
