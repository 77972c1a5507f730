"""All training losses of a Mask R-CNN.

Losses come back unweighted in one dictionary and are summed by the caller. Images without any object,
and batches without any mask, give losses of 0 that still reach every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.data.instance_samples import Target
from model.networks.boxes import clip
from model.networks.mask_heads import PointRendMaskHead
from model.networks.mask_rcnn import MaskRCNN
from model.training.losses.detection import (
    Losses,
    Rois,
    box_losses,
    mask_rois,
    moved_rois,
    rpn_losses,
    training_rois,
)
from model.training.losses.masks import conv_mask_loss, pointrend_losses
from model.training.losses.true_boxes import true_rois
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
    masks: bool = True,
) -> Losses:
    """Return all losses of one batch: images [B, 3, H, W] normalised and padded, sizes [B, 2] (height, width).

    Without `masks`, those of the detector alone.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        maps: list[Tensor] = network.backbone.fpn(_features(network, images, bf16))
        logits, deltas, anchors = network.rpn(maps)
    pyramid = [x.float().contiguous() for x in maps]
    result = rpn_losses(logits, deltas, anchors, targets, sampling, generator)
    with torch.no_grad():
        rois = training_rois(network, (logits, deltas, anchors), sizes, targets, sampling, generator)
    box_result, moved = box_losses(network.box_head, pyramid, rois)
    result |= box_result
    if network.config.box.refinements:
        # The head also learns to move what it has moved before, and masks train in these boxes.
        moved = clip(moved, sizes[rois.batch])
        rois = moved_rois(rois, moved, targets, sampling, network.config.num_classes)
        refined, moved = box_losses(network.box_head, pyramid, rois)
        result |= {f"refined_{name}": loss for name, loss in refined.items()}
    if masks:
        regions = mask_rois(rois, moved, sampling)
        result |= _mask_losses(network, pyramid, regions, targets, sampling, generator)
    return result


def true_box_losses(
    network: MaskRCNN,
    images: Tensor,
    sizes: Tensor,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None = None,
    *,
    bf16: bool = False,
) -> Losses:
    """Return the losses of masks in the true boxes of one batch (see `true_rois`). The detector does not run."""
    rois = true_rois(targets, sizes, sampling, generator)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        maps = network.backbone.fpn.finest(_features(network, images, bf16), network.mask_head.levels)
    return _mask_losses(network, [x.float() for x in maps], rois, targets, sampling, generator)


def _features(network: MaskRCNN, images: Tensor, bf16: bool) -> list[Tensor]:
    # The trunk trains channels-last, and the pyramid in bf16, too, where its convolutions are then twice as fast.
    # In single precision oneDNN's weight gradients of 3×3 convolutions on large maps are slow that way.
    features: list[Tensor] = network.backbone.trunk(images)
    return features if bf16 else [x.contiguous() for x in features]


def _mask_losses(
    network: MaskRCNN,
    pyramid: list[Tensor],
    rois: Rois,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Losses:
    head = network.mask_head
    if isinstance(head, PointRendMaskHead):
        return pointrend_losses(head, pyramid, rois, targets, sampling, generator)
    return conv_mask_loss(head, pyramid, rois, targets)
