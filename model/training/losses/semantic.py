"""The training losses of semantic segmentation, of the base model and of the point head (reference behaviour)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.networks.semantic import SemanticMaps, SemanticNet
from model.pointrend.points import biased_random_points, draw_candidates, sample, top2_uncertainty


def semantic_losses(
    network: SemanticNet,
    images: Tensor,
    labels: Tensor,
    *,
    points: int,
    oversample: float,
    importance: float,
    ignore: int,
    generator: torch.Generator | None = None,
    bf16: bool = False,
) -> dict[str, Tensor]:
    """Return all losses of one batch, unweighted: images [B, 3, H, W] normalised and padded, labels [B, H, W] int64.

    `points` an image are drawn as `biased_random_points` has it. Labels equal to `ignore` do not count; a
    batch of nothing else has losses of 0 that still reach every parameter. A base model alone has no point loss.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        maps = network(images)
    maps = SemanticMaps(maps.coarse.float(), maps.fine.float())
    result = {"semantic_coarse": coarse_loss(maps.coarse, labels, ignore)}
    if network.point is not None:
        draws = draw_candidates(len(images), points, oversample, importance, generator, images.device)
        chosen = biased_random_points(maps.coarse.detach(), *draws, points, top2_uncertainty)
        result["semantic_point"] = point_loss(network, maps, labels, chosen, ignore)
    return result


def coarse_loss(coarse: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """Return the mean cross-entropy of the logits [B, K, h, w], enlarged to the labels' size."""
    logits = F.interpolate(coarse, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    return mean_cross_entropy(logits, labels, ignore)


def point_loss(
    network: SemanticNet, maps: SemanticMaps, labels: Tensor, points: Tensor, ignore: int
) -> Tensor:
    """Return the point head's mean cross-entropy at unit points [B, P, 2]; a point's label is the nearest pixel's."""
    assert network.point is not None
    logits = network.point(
        sample(maps.fine, points).transpose(1, 2), sample(maps.coarse, points).transpose(1, 2)
    )
    nearest = sample(labels[:, None].float(), points, mode="nearest", padding="border")[:, 0].long()
    return mean_cross_entropy(logits.transpose(1, 2), nearest, ignore)


def mean_cross_entropy(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """Return the mean cross-entropy over the labels that count; 0 (with a gradient path) if none does."""
    total = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="sum")
    return total / (labels != ignore).sum().clamp(min=1)
