"""The heads that are compared, with random weights, and their losses.

R regions · P points · K classes · s side of a coarse mask
"""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from model.config.instance import ConvHeadConfig, MaskRCNNConfig, PointRendConfig
from model.data.instance_samples import Target
from model.errors import UserError
from model.networks.mask_heads import CoarseHead, ConvMaskHead, PointRendMaskHead, own_class
from model.networks.roi import sample_grid
from model.pointrend.points import regular_grid
from model.training.losses.detection import Losses, Rois
from model.training.losses.masks import (
    conv_mask_loss,
    losses_at,
    mask_targets,
    mean_bce,
    uncertain_points,
)
from model.training.recipe import Sampling

COARSE, CONV, BIASED = "coarse", "conv", "biased"
# PointRend by the choice of its training points (paper Table 4): k and β of the biased choice; None: a regular grid.
POINTREND: types.MappingProxyType[str, tuple[float, float] | None] = types.MappingProxyType(
    {"grid": None, "uniform": (1.0, 0.0), BIASED: (3.0, 0.75), "extreme": (10.0, 1.0)}
)
NAMES = (COARSE, CONV, *POINTREND)
LABELS: types.MappingProxyType[str, str] = types.MappingProxyType(
    {
        COARSE: "coarse 7×7",
        CONV: "4×conv 28×28",
        "grid": "PointRend, regular grid",
        "uniform": "PointRend, uniform",
        BIASED: "PointRend, biased (k=3, β=0.75)",
        "extreme": "PointRend, extreme (k=10, β=1)",
    }
)


class CoarseMaskHead(nn.Module):
    """PointRend's coarse head alone, as a mask head."""

    point: ClassVar[None] = None  # nothing refines its masks

    def __init__(self, channels: int, num_classes: int, config: PointRendConfig) -> None:
        super().__init__()
        self.pool = config.pool
        self.coarse = CoarseHead(channels, num_classes, config)

    def forward(self, pyramid: list[Tensor], boxes: Tensor, batch: Tensor) -> Tensor:
        """Return logits [R, K, s, s] for boxes [R, 4] in input pixels."""
        logits: Tensor = self.coarse(sample_grid(pyramid[0], boxes, batch, self.pool, stride=4))
        return logits


Head = CoarseMaskHead | ConvMaskHead | PointRendMaskHead


def build(name: str, config: MaskRCNNConfig, seed: int) -> Head:
    """Return a head with random weights. The same seed gives all of PointRend's heads the same weights.

    Raises UserError if the checkpoint's own head is not PointRend's, because the widths are taken from there.
    """
    if not isinstance(config.mask, PointRendConfig):
        raise UserError("the checkpoint has a 4×conv mask head: the comparison needs one of PointRend")
    channels, classes = config.fpn.channels, config.num_classes
    torch.manual_seed(seed)
    if name == CONV:
        return ConvMaskHead(channels, classes, ConvHeadConfig(conv_dim=channels))
    kind = CoarseMaskHead if name == COARSE else PointRendMaskHead
    return kind(channels, classes, config.mask)


def build_all(config: MaskRCNNConfig, seed: int = 0) -> dict[str, Head]:
    """Return every head by name, in training mode."""
    return {name: build(name, config, seed) for name in NAMES}


def head_losses(
    name: str,
    head: Head,
    pyramid: list[Tensor],
    rois: Rois,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator,
) -> Losses:
    """Return the losses that train a head in the given regions."""
    if isinstance(head, ConvMaskHead):
        return conv_mask_loss(head, pyramid, rois, targets)
    coarse = head(pyramid, rois.boxes, rois.batch)
    own = own_class(coarse, rois.classes)
    if isinstance(head, CoarseMaskHead):
        return {
            "mask_coarse": mean_bce(own, mask_targets(rois, targets, own.shape[-1], sampling.coarse_samples))
        }
    points = training_points(name, own.detach(), sampling, generator)
    return losses_at(points, head, coarse, pyramid[0], rois, targets, sampling)


def training_points(name: str, own: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Return unit points [R, P, 2] for the coarse logits [R, s, s] of the regions' own classes.

    The regular grid is the largest one of at most `sampling.points` points.
    """
    bias = POINTREND[name]
    if bias is None:
        return regular_grid(math.isqrt(sampling.points)).expand(len(own), -1, 2)
    return uncertain_points(own, replace(sampling, oversample=bias[0], importance=bias[1]), generator)
