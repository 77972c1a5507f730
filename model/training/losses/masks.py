"""The training losses of the mask heads and of the point head (reference behaviour; paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from model.data.instance_samples import Target
from model.networks.mask_heads import ConvMaskHead, PointRendMaskHead, own_class
from model.networks.roi import with_batch
from model.pointrend.features import interpolate
from model.pointrend.points import (
    biased_random_points,
    class_uncertainty,
    draw_candidates,
    neighbours,
    regular_grid,
    sample,
    sample_bitmaps,
    to_image,
)
from model.training.losses.detection import Losses, Rois
from model.training.recipe import Sampling


def pointrend_losses(
    head: PointRendMaskHead,
    pyramid: list[Tensor],
    rois: Rois,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Losses:
    """Return BCE of the coarse masks, and of the point head at uncertain points (and Dice, with `dice_weight`)."""
    coarse = coarse_masks(head, pyramid[0], rois)
    points = uncertain_points(own_class(coarse, rois.classes).detach(), sampling, generator)
    return losses_at(points, head, coarse, pyramid[0], rois, targets, sampling)


def coarse_masks(head: PointRendMaskHead, p2: Tensor, rois: Rois) -> Tensor:
    """Return what the coarse head gives for the regions, as `head` itself does.

    Its reads, one row of channels each, are several times faster to train through than RoIAlign.
    """
    grid = regular_grid(head.pool, p2.device).expand(len(rois.boxes), -1, -1)
    reads = fine_features(p2, to_image(grid, rois.boxes), rois.batch)
    side = head.pool
    logits: Tensor = head.coarse(reads.transpose(1, 2).reshape(-1, p2.shape[1], side, side))
    return logits


def uncertain_points(own: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    """Draw training points [R, P, 2] in unit boxes, from the coarse logits [R, s, s] of the regions' own classes."""
    count, oversample, importance = sampling.points, sampling.oversample, sampling.importance
    draws = draw_candidates(len(own), count, oversample, importance, generator, own.device)
    return biased_random_points(own[:, None], *draws, count, class_uncertainty)


def losses_at(
    points: Tensor,
    head: PointRendMaskHead,
    coarse: Tensor,
    p2: Tensor,
    rois: Rois,
    targets: Sequence[Target],
    sampling: Sampling,
) -> Losses:
    """Return `pointrend_losses` at given unit points [R, P, 2], from coarse logits [R, K, s, s] and P2 [B, C, H, W]."""
    own = own_class(coarse, rois.classes)
    positions = to_image(points, rois.boxes)
    fine = fine_features(p2, positions, rois.batch)
    logits = head.point(fine, sample(coarse, points).transpose(1, 2))
    picks = rois.classes if logits.shape[-1] > 1 else rois.classes * 0
    own_logits = logits.gather(2, picks[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
    pairs = {
        "mask_coarse": (
            own.flatten(1),
            mask_targets(rois, targets, own.shape[-1], sampling.coarse_samples).flatten(1),
        ),
        "mask_point": (own_logits, point_targets(rois, targets, positions)),
    }
    losses = {name: mean_bce(*pair) for name, pair in pairs.items()}
    if sampling.dice_weight:
        losses |= {f"{name}_dice": sampling.dice_weight * mean_dice(*pair) for name, pair in pairs.items()}
    return losses


def conv_mask_loss(
    head: ConvMaskHead, pyramid: list[Tensor], rois: Rois, targets: Sequence[Target]
) -> Losses:
    """Return BCE of the 4×conv baseline at 28×28."""
    own = own_class(head(pyramid, rois.boxes, rois.batch), rois.classes)
    return {"mask_conv": mean_bce(own, mask_targets(rois, targets, own.shape[-1]))}


def mean_bce(logits: Tensor, goal: Tensor) -> Tensor:
    """Return the mean binary cross-entropy, 0 (with a gradient path) over nothing."""
    total = F.binary_cross_entropy_with_logits(logits, goal, reduction="sum")
    return total / max(goal.numel(), 1)


def mean_dice(logits: Tensor, goal: Tensor) -> Tensor:
    """Return the mean Dice loss (V-Net, arXiv:1606.04797) over regions [R, P], 0 (with a gradient path) over nothing.

    That of a region is 1 - (2·Σpy + 1) / (Σp + Σy + 1), with the probabilities p and the goals y of its points. Like
    IoU, it measures overlap, so a mask that fills little of its box counts as much as one that fills it.
    """
    p = logits.sigmoid()
    score = (2 * (p * goal).sum(1) + 1) / (p.sum(1) + goal.sum(1) + 1)
    return (1 - score).sum() / max(len(logits), 1)


def fine_features(features: Tensor, positions: Tensor, batch: Tensor) -> Tensor:
    """Read P2 [B, C, H, W] at input-pixel positions [R, P, 2] of images `batch` [R]: [R, P, C]."""
    height, width = features.shape[-2:]
    x, y = (positions / 4).unbind(-1)
    cells, weights = neighbours(x, y, height, width)
    cells = cells + batch[:, None, None] * (height * width)
    table = features.permute(0, 2, 3, 1).flatten(0, 2)  # no copy of a channels-last map
    reads = interpolate(table, cells.flatten(0, 1), weights.flatten(0, 1))
    return reads.view(*positions.shape[:2], features.shape[1])


def mask_targets(rois: Rois, targets: Sequence[Target], side: int, samples: int = 0) -> Tensor:
    """Return the regions' bitmaps as side×side grids, 0 or 1: RoIAlign of the bitmap, at least half.

    A cell has samples×samples reads; with 0, about one a pixel.
    """
    goal = rois.boxes.new_zeros(len(rois.boxes), side, side)
    for i, target in enumerate(targets):
        members = (rois.batch == i).nonzero()[:, 0]
        if target.masks is not None and len(members):
            crops = with_batch(rois.boxes[members], rois.target[members])
            pooled = roi_align(target.masks[:, None].float(), crops, side, 1.0, samples, True)
            goal[members] = (pooled[:, 0] >= 0.5).float()
    return goal


def point_targets(rois: Rois, targets: Sequence[Target], positions: Tensor) -> Tensor:
    """Return soft labels [R, P] of the regions' bitmaps at positions [R, P, 2]."""
    goal = positions.new_zeros(positions.shape[:2])
    for i, target in enumerate(targets):
        members = (rois.batch == i).nonzero()[:, 0]
        if target.masks is not None and len(members):
            goal[members] = sample_bitmaps(target.masks, rois.target[members], positions[members])
    return goal
