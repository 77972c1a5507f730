"""The training losses of Faster R-CNN, of the mask heads and of the point head (reference behaviour).

Losses come back unweighted in one dictionary and are summed by the caller. Images without any object,
and batches without any mask, give losses of 0 that still reach every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, roi_align

from model.data.instance_samples import Target
from model.networks import boxes as box
from model.networks import rpn
from model.networks.box_head import BoxHead
from model.networks.mask_heads import ConvMaskHead, PointRendMaskHead, own_class
from model.networks.mask_rcnn import MaskRCNN
from model.networks.roi import with_batch
from model.networks.rpn import Proposals
from model.pointrend.points import (
    biased_random_points,
    class_uncertainty,
    draw_candidates,
    sample,
    sample_bitmaps,
    to_image,
)
from model.training.recipe import Sampling

Losses = dict[str, Tensor]

_MOST_MOVED = 2  # sides of the image; masks train in no larger box


def losses(
    network: MaskRCNN,
    images: Tensor,
    sizes: Tensor,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None = None,
    *,
    bf16: bool = False,
) -> Losses:
    """All losses of one batch: images [B, 3, H, W] normalised and padded, sizes [B, 2] (height, width)."""
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


def rpn_losses(
    logits: list[Tensor],
    deltas: list[Tensor],
    anchors: list[Tensor],
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Losses:
    """Objectness BCE and L1 of the deltas over sampled anchors, both divided by all that were asked for."""
    scores, moves, places = torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors)
    norm = sampling.anchors * len(targets)
    objectness, regression = scores.sum() * 0, moves.sum() * 0
    for i, target in enumerate(targets):
        index, labels = box.match(box_iou(target.boxes, places), *sampling.anchor_iou, keep_best=True)
        labels = without_ignored(labels, places, target)
        positive, negative = box.subsample(labels, sampling.anchors, sampling.anchor_positives, generator)
        chosen = torch.cat([positive, negative])
        objectness = objectness + F.binary_cross_entropy_with_logits(
            scores[i, chosen], (labels[chosen] == 1).float(), reduction="sum"
        )
        if len(positive):
            goal = box.encode(target.boxes[index[positive]], places[positive], box.RPN_WEIGHTS)
            regression = regression + F.l1_loss(moves[i, positive], goal, reduction="sum")
    return {"rpn_objectness": objectness / norm, "rpn_box": regression / norm}


def without_ignored(labels: Tensor, places: Tensor, target: Target) -> Tensor:
    """Labels [N] of `box.match` with -1 for the negatives that lie at least half in an ignored box."""
    if target.ignored is None:
        return labels
    return labels.masked_fill((labels == 0) & (box.covered(places, target.ignored) >= 0.5), -1)


class Rois:
    """Sampled regions of a batch: boxes [R, 4], image [R], class [R] (background last), target index [R]."""

    def __init__(
        self, boxes: Tensor, batch: Tensor, classes: Tensor, target: Tensor, goals: Tensor, masked: Tensor
    ) -> None:
        self.boxes, self.batch, self.classes = boxes, batch, classes
        self.target = target  # index among the image's targets
        self.goals = goals  # [R, 4] that target's box
        self.masked = masked  # [R] foreground whose mask is known

    def take(self, keep: Tensor, boxes: Tensor) -> Rois:
        """The regions of `keep`, with other boxes."""
        kept = (self.batch, self.classes, self.target, self.goals, self.masked)
        return Rois(boxes, *(member[keep] for member in kept))


def training_rois(
    network: MaskRCNN,
    found: tuple[list[Tensor], list[Tensor], list[Tensor]],
    sizes: Tensor,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Rois:
    """Regions drawn from what the RPN found (see RPN.forward), with the limits of training."""
    threshold = network.config.rpn.nms_threshold
    proposals = rpn.select(
        *found, sizes, pre_nms=sampling.pre_nms, post_nms=sampling.post_nms, nms_threshold=threshold
    )
    return sample_rois(proposals, targets, sampling, network.config.num_classes, generator)


def sample_rois(
    proposals: Proposals,
    targets: Sequence[Target],
    sampling: Sampling,
    num_classes: int,
    generator: torch.Generator | None,
) -> Rois:
    """Match proposals (and the targets themselves) to targets, and draw foreground and background."""
    parts: list[tuple[Tensor, ...]] = []
    for i, target in enumerate(targets):
        places = torch.cat([proposals.boxes[i][proposals.logits[i] > rpn.LOWEST], target.boxes])
        index, labels = box.match(
            box_iou(target.boxes, places), sampling.roi_iou, sampling.roi_iou, keep_best=False
        )
        labels = without_ignored(labels, places, target)
        positive, negative = box.subsample(labels, sampling.rois, sampling.roi_positives, generator)
        chosen = torch.cat([positive, negative])
        foreground = labels[chosen] == 1
        background = torch.full_like(chosen, num_classes)
        if len(target.boxes):
            classes = torch.where(foreground, target.classes[index[chosen]], background)
            goals = target.boxes[index[chosen]]
            masked = foreground & target.trains_masks()[index[chosen]]
        else:
            classes, goals, masked = background, places[chosen], foreground
        image = torch.full_like(chosen, i)
        parts.append((places[chosen], image, classes, index[chosen], goals, masked))
    return Rois(*(torch.cat(column) for column in zip(*parts, strict=True)))


def box_losses(head: BoxHead, pyramid: list[Tensor], rois: Rois, sampling: Sampling) -> tuple[Losses, Rois]:
    """Cross-entropy and L1 (over all regions), and the regions that masks train in."""
    logits, deltas = head(pyramid, rois.boxes, rois.batch)
    background = logits.shape[1] - 1
    foreground = (rois.classes < background).nonzero()[:, 0]
    own = deltas[foreground, rois.classes[foreground]]
    goal = box.encode(rois.goals[foreground], rois.boxes[foreground], box.BOX_WEIGHTS)
    count = max(len(rois.classes), 1)
    result = {
        "box_class": F.cross_entropy(logits, rois.classes, reduction="sum") / count,
        "box_regression": F.l1_loss(own, goal, reduction="sum") / count,
    }
    keep = rois.masked.nonzero()[:, 0]
    boxes = rois.boxes[keep]
    if sampling.predicted_boxes:
        # After the box losses, with the target's class; neither clipped nor filtered.
        moves = deltas[keep, rois.classes[keep]].detach()
        moved = box.decode(moves, boxes, box.BOX_WEIGHTS)
        # A diverged run must get to its loss, to be reported: RoIAlign reads out of bounds at NaN (which
        # no comparison admits), and the cost of targets grows with the box's area.
        limit = _MOST_MOVED * 4 * max(pyramid[0].shape[-2:])
        possible = (moved[:, 2:] - moved[:, :2] <= limit).all(1, keepdim=True)
        boxes = torch.where(possible, moved, boxes)
    return result, rois.take(keep, boxes)


def pointrend_losses(
    head: PointRendMaskHead,
    pyramid: list[Tensor],
    rois: Rois,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Losses:
    """BCE of the coarse masks, and of the point head at uncertain points (paper section 4.1)."""
    coarse = head(pyramid, rois.boxes, rois.batch)
    points = uncertain_points(own_class(coarse, rois.classes).detach(), sampling, generator)
    return losses_at(points, head, coarse, pyramid[0], rois, targets)


def uncertain_points(own: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    """Training points [R, P, 2] in unit boxes, from the coarse logits [R, s, s] of the regions' own classes."""
    count, oversample, importance = sampling.points, sampling.oversample, sampling.importance
    draws = draw_candidates(len(own), count, oversample, importance, generator, own.device)
    return biased_random_points(own[:, None], *draws, count, class_uncertainty)


def losses_at(
    points: Tensor, head: PointRendMaskHead, coarse: Tensor, p2: Tensor, rois: Rois, targets: Sequence[Target]
) -> Losses:
    """`pointrend_losses` at given unit points [R, P, 2], from coarse logits [R, K, s, s] and P2 [B, C, H, W]."""
    own = own_class(coarse, rois.classes)
    positions = to_image(points, rois.boxes)
    fine = fine_features(p2, positions, rois.batch)
    logits = head.point(fine, sample(coarse, points).transpose(1, 2))
    picks = rois.classes if logits.shape[-1] > 1 else rois.classes * 0
    own_logits = logits.gather(2, picks[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
    return {
        "mask_coarse": mean_bce(own, mask_targets(rois, targets, own.shape[-1])),
        "mask_point": mean_bce(own_logits, point_targets(rois, targets, positions)),
    }


def conv_mask_loss(
    head: ConvMaskHead, pyramid: list[Tensor], rois: Rois, targets: Sequence[Target]
) -> Losses:
    """BCE of the 4×conv baseline at 28×28."""
    own = own_class(head(pyramid, rois.boxes, rois.batch), rois.classes)
    return {"mask_conv": mean_bce(own, mask_targets(rois, targets, own.shape[-1]))}


def mean_bce(logits: Tensor, goal: Tensor) -> Tensor:
    """Mean binary cross-entropy, 0 (with a gradient path) over nothing."""
    total = F.binary_cross_entropy_with_logits(logits, goal, reduction="sum")
    return total / max(goal.numel(), 1)


def fine_features(features: Tensor, positions: Tensor, batch: Tensor) -> Tensor:
    """P2 [B, C, H, W] at input-pixel positions [R, P, 2] of images batch [R]: [R, P, C]."""
    height, width = features.shape[-2:]
    unit = positions / positions.new_tensor([width * 4, height * 4])
    parts, order = [], []
    for i in range(len(features)):
        members = (batch == i).nonzero()[:, 0]
        parts.append(sample(features[i : i + 1], unit[members].reshape(1, -1, 2))[0].T)
        order.append(members)
    flat = torch.cat(parts).view(*positions.shape[:2], features.shape[1])
    return flat[torch.cat(order).argsort()]


def mask_targets(rois: Rois, targets: Sequence[Target], side: int) -> Tensor:
    """The regions' bitmaps as side×side grids, 0 or 1: RoIAlign (adaptive) of the bitmap, at least half."""
    goal = rois.boxes.new_zeros(len(rois.boxes), side, side)
    for i, target in enumerate(targets):
        members = (rois.batch == i).nonzero()[:, 0]
        if target.masks is not None and len(members):
            crops = with_batch(rois.boxes[members], rois.target[members])
            pooled = roi_align(target.masks[:, None].float(), crops, side, 1.0, 0, True)
            goal[members] = (pooled[:, 0] >= 0.5).float()
    return goal


def point_targets(rois: Rois, targets: Sequence[Target], positions: Tensor) -> Tensor:
    """Soft labels [R, P] of the regions' bitmaps at positions [R, P, 2]."""
    goal = positions.new_zeros(positions.shape[:2])
    for i, target in enumerate(targets):
        members = (rois.batch == i).nonzero()[:, 0]
        if target.masks is not None and len(members):
            goal[members] = sample_bitmaps(target.masks, rois.target[members], positions[members])
    return goal
