"""Mask heads: PointRend's coarse head with its point head, and the 4×conv baseline."""

from __future__ import annotations

import itertools
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from model.config.instance import ConvHeadConfig, PointRendConfig
from model.networks.layers import conv, linear
from model.networks.roi import pool_pyramid, sample_grid
from model.pointrend.point_head import PointHead


class CoarseHead(nn.Module):
    """14×14 reads of P2 → 2×2 convolution with stride 2 → MLP → a side×side mask for every class.

    The masks may be followed by context channels: learned features of the whole region, which have no target of their
    own. The point head reads them together with the masks, and can so tell the object of the box from others with the
    same local features.
    """

    def __init__(self, in_channels: int, num_classes: int, config: PointRendConfig) -> None:
        super().__init__()
        self.channels, self.side = num_classes + config.context, config.side
        self.reduce = conv(in_channels, config.conv_dim, 1) if in_channels > config.conv_dim else None
        spatial_inputs = min(in_channels, config.conv_dim)
        self.spatial = conv(spatial_inputs, config.conv_dim, 2, stride=2)
        widths = [config.conv_dim * (config.pool // 2) ** 2] + [config.fc_dim] * config.num_fc
        self.fc = nn.ModuleList(linear(a, b) for a, b in itertools.pairwise(widths))
        self.prediction = linear(widths[-1], self.channels * config.side**2, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits and context [R, K + context, side, side] of reads [R, C, 14, 14]."""
        if self.reduce is not None:
            x = F.relu(self.reduce(x))
        x = F.relu(self.spatial(x)).flatten(1)
        for layer in self.fc:
            x = F.relu(layer(x))
        logits: Tensor = self.prediction(x).float()
        return logits.view(-1, self.channels, self.side, self.side)


class PointRendMaskHead(nn.Module):
    """Coarse head and point head; both read P2, whatever the size of the box."""

    levels: ClassVar[int] = 1  # of the pyramid that it reads, from P2 on

    def __init__(self, channels: int, num_classes: int, config: PointRendConfig) -> None:
        super().__init__()
        self.pool = config.pool
        self.coarse = CoarseHead(channels, num_classes, config)
        self.point = PointHead(channels, num_classes, config)

    def forward(self, pyramid: list[Tensor], boxes: Tensor, batch: Tensor) -> Tensor:
        """Return what the coarse head gives for boxes [R, 4] in input pixels, in images batch [R]."""
        logits: Tensor = self.coarse(sample_grid(pyramid[0], boxes, batch, self.pool, stride=4))
        return logits


class ConvMaskHead(nn.Module):
    """Mask R-CNN's head: four 3×3 convolutions on a 14×14 RoIAlign, a 2× deconvolution, 1×1 prediction."""

    levels: ClassVar[int] = 4
    point: ClassVar[None] = None  # nothing refines its masks

    def __init__(self, channels: int, num_classes: int, config: ConvHeadConfig) -> None:
        super().__init__()
        self.pool = config.pool
        widths = [channels] + [config.conv_dim] * config.num_conv
        self.conv = nn.ModuleList(conv(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.deconv = nn.ConvTranspose2d(config.conv_dim, config.conv_dim, 2, 2)
        nn.init.kaiming_normal_(self.deconv.weight, mode="fan_out", nonlinearity="relu")
        assert self.deconv.bias is not None
        nn.init.zeros_(self.deconv.bias)
        self.predictor = conv(config.conv_dim, 1 if config.class_agnostic else num_classes, 1, std=0.001)

    def forward(self, pyramid: list[Tensor], boxes: Tensor, batch: Tensor) -> Tensor:
        """Return logits [R, K, 2·pool, 2·pool] of boxes [R, 4] in input pixels (one channel if class-agnostic)."""
        x = pool_pyramid(pyramid, boxes, batch, self.pool)
        for layer in self.conv:
            x = F.relu(layer(x))
        logits: Tensor = self.predictor(F.relu(self.deconv(x))).float()
        return logits


def expected_precision(own: Tensor) -> Tensor:
    """Return the expected precision [R] of masks of logits [R, h, w], if their probabilities p hold: Σp² / Σp, 0 to 1.

    A box's score is multiplied with it, as Mask Scoring R-CNN does with an IoU that it learns (arXiv:1903.00241).
    """
    chance = own.sigmoid().flatten(1)
    return (chance * chance).sum(1) / chance.sum(1).clamp(min=1e-6)


def own_class(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the logits [R, h, w] of each region's own class [R], of [R, K, h, w]; one channel serves all classes."""
    picks = classes if logits.shape[1] > 1 else classes * 0
    return logits.gather(1, picks[:, None, None, None].expand(-1, 1, *logits.shape[2:]))[:, 0]
