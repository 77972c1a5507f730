"""All training losses of a Mask R-CNN.

Losses come back unweighted in one dictionary and are summed by the caller. Images without any object,
and batches without any mask, give losses of 0 that still reach every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.data.instance_samples import Target
from model.networks.mask_heads import PointRendMaskHead
from model.networks.mask_rcnn import MaskRCNN
from model.training.losses.detection import Losses, box_losses, rpn_losses, training_rois
from model.training.losses.masks import conv_mask_loss, pointrend_losses
from model.training.recipe import Sampling


def instance_losses(
    network: MaskRCNN,
    images: Tensor,
    sizes: Tensor,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None = None,
    *,
    bf16: bool = False,
) -> Losses:
    """Return all losses of one batch: images [B, 3, H, W] normalised and padded, sizes [B, 2] (height, width)."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        # The trunk trains channels-last, the rest does not: oneDNN's weight gradients of 3×3 convolutions on
        # large maps, and RoIAlign, are several times slower that way.
        features = [x.contiguous() for x in network.backbone.trunk(images)]
        maps: list[Tensor] = network.backbone.fpn(features)
        logits, deltas, anchors = network.rpn(maps)
    pyramid = [x.float() for x in maps]
    result = rpn_losses(logits, deltas, anchors, targets, sampling, generator)
    with torch.no_grad():
        rois = training_rois(network, (logits, deltas, anchors), sizes, targets, sampling, generator)
    box_result, mask_rois = box_losses(network.box_head, pyramid, rois, sampling)
    result |= box_result
    head = network.mask_head
    if isinstance(head, PointRendMaskHead):
        return result | pointrend_losses(head, pyramid, mask_rois, targets, sampling, generator)
    return result | conv_mask_loss(head, pyramid, mask_rois, targets)
