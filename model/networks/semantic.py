"""Semantic segmentation: Semantic FPN and DeepLabV3 as base models, and the point head that refines them.

Shapes: B images · K classes · C channels · s stride of the coarse logits
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP

from model.config.parts import TrunkConfig
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticFPNConfig
from model.networks.backbone import Backbone, build_trunk
from model.networks.layers import conv
from model.pointrend.point_head import PointHead

_GROUPS = 32  # as in the reference's GroupNorm


class SemanticMaps(NamedTuple):
    """What a network returns for a batch: everything that a label map is rendered from."""

    coarse: Tensor  # [B, K, H/s, W/s] logits of the base model
    fine: Tensor  # [B, C, H/4, W/4] fine-grained features: P2 (Semantic FPN) or res2 (DeepLabV3)


class ConvGroupNorm(nn.Module):
    """3×3 convolution without bias, GroupNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class SemanticFPNHead(nn.Module):
    """Pyramid levels, each convolved and enlarged twofold until it has the finest one's size, then summed."""

    def __init__(self, config: SemanticFPNConfig, num_classes: int) -> None:
        super().__init__()
        first = config.first_level
        self.levels = nn.ModuleDict(
            {
                f"p{level}": nn.ModuleList(
                    ConvGroupNorm(config.channels if i else config.fpn.channels, config.channels)
                    for i in range(max(level - first, 1))
                )
                for level in range(first, 6)
            }
        )
        self.predictor = conv(config.channels, num_classes, 1, std=0.01)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return logits [B, K, H/s, W/s] from P2–P6."""
        parts: list[Tensor] = []
        for x, layers in zip(pyramid[4 - len(self.levels) : 4], self.levels.values(), strict=True):
            for layer in cast(nn.ModuleList, layers):
                x = layer(x)
                if parts:
                    x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            parts.append(x)
        logits: Tensor = self.predictor(sum(parts[1:], parts[0]))
        return logits


class DeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling on the last feature (rates 6, 12, 18 at stride 16), 3×3, prediction."""

    def __init__(self, inputs: int, config: DeepLabV3Config, num_classes: int) -> None:
        super().__init__()
        rates = [rate * 16 // config.output_stride for rate in (6, 12, 18)]
        self.aspp = ASPP(inputs, rates, config.channels)
        for part in self.aspp.modules():
            if isinstance(part, nn.Dropout):
                part.p = config.dropout
        self.conv = nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(config.channels)
        self.predictor = conv(config.channels, num_classes, 1, std=0.01)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits [B, K, H/s, W/s] from res2–res5."""
        x = F.relu(self.norm(self.conv(self.aspp(features[-1]))))
        logits: Tensor = self.predictor(x)
        return logits


class DilatedBackbone(nn.Module):
    """The trunk alone: image [B, 3, H, W] → res2–res5, dilated from `output_stride` on."""

    def __init__(self, trunk: TrunkConfig, output_stride: int) -> None:
        super().__init__()
        self.trunk = build_trunk(trunk, output_stride)

    def forward(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.trunk(image)
        return features


class SemanticNet(nn.Module):
    """The network of one configuration. Images are normalised and padded ([B, 3, H, W], multiples of 32)."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        self.config = config
        base = config.base
        self.backbone: Backbone | DilatedBackbone
        self.head: SemanticFPNHead | DeepLabHead
        if isinstance(base, SemanticFPNConfig):
            self.backbone = Backbone(config.backbone, base.fpn)
            self.head = SemanticFPNHead(base, config.num_classes)
            fine_channels = base.fpn.channels
        else:
            self.backbone = DilatedBackbone(config.backbone, base.output_stride)
            channels = self.backbone.trunk.channels
            self.head = DeepLabHead(channels[-1], base, config.num_classes)
            fine_channels = channels[0]
        self.point = (
            None if config.point is None else PointHead(fine_channels, config.num_classes, config.point)
        )

    @property
    def point_head(self) -> PointHead | None:
        """The head that refines label maps; None for a base model alone."""
        return self.point

    def forward(self, images: Tensor) -> SemanticMaps:
        features: list[Tensor] = self.backbone(images)
        return SemanticMaps(self.head(features), features[0])
