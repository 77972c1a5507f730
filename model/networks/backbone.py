"""Backbones: a trunk (ResNet or any timm network) and the feature pyramid on top of it.

A new kind of trunk is a module beside `resnet.py`, a configuration in model/config/parts.py, and a line in `_TRUNKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from model.config.parts import FPNConfig, TrunkConfig
from model.networks.resnet import ResNet
from model.networks.timm_trunk import TimmTrunk

STRIDES = (4, 8, 16, 32, 64)  # of P2–P6

Trunk = TimmTrunk | ResNet
# By the type of the trunk's configuration.
_TRUNKS: Mapping[str, Callable[[Any, int], Trunk]] = {"Timm": TimmTrunk, "ResNet": ResNet}


def build_trunk(config: TrunkConfig, output_stride: int = 32) -> Trunk:
    """Return a module from images [B, 3, H, W] to four features, and `channels`, their widths.

    The features have strides 4, 8, 16 and 32, or are dilated from `output_stride` on.
    """
    return _TRUNKS[config.type](config, output_stride)


class FPN(nn.Module):
    """Feature pyramid network: trunk features → P2–P6, all with the same channels.

    P6 is every second cell of P5 and serves the RPN alone. torchvision's FeaturePyramidNetwork names its tensors
    differently, so checkpoints would not fit it.
    """

    def __init__(self, in_channels: tuple[int, ...], config: FPNConfig) -> None:
        super().__init__()

        def conv(inputs: int, kernel: int) -> nn.Module:
            layer = nn.Conv2d(inputs, config.channels, kernel, padding=kernel // 2, bias=not config.norm)
            nn.init.kaiming_uniform_(layer.weight, a=1)
            if layer.bias is None:
                return nn.Sequential(layer, nn.BatchNorm2d(config.channels))
            nn.init.zeros_(layer.bias)
            return layer

        self.lateral = nn.ModuleList(conv(inputs, 1) for inputs in in_channels)
        self.output = nn.ModuleList(conv(config.channels, 3) for _ in in_channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        pyramid = [layer(x) for layer, x in zip(self.output, self._merged(features), strict=True)]
        return [*pyramid, F.max_pool2d(pyramid[-1], 1, 2)]

    def finest(self, features: list[Tensor], count: int) -> list[Tensor]:
        """Return P2 and further maps, `count` in all, without the work for the others."""
        return [layer(x) for layer, x in zip(self.output[:count], self._merged(features), strict=False)]

    def _merged(self, features: list[Tensor]) -> list[Tensor]:
        laterals = [layer(x) for layer, x in zip(self.lateral, features, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], scale_factor=2.0, mode="nearest")
        return laterals


class Backbone(nn.Module):
    """Image [B, 3, H, W], H and W multiples of 32 → P2–P6."""

    def __init__(self, trunk: TrunkConfig, fpn: FPNConfig) -> None:
        super().__init__()
        self.trunk = build_trunk(trunk)
        self.fpn = FPN(self.trunk.channels, fpn)

    def forward(self, image: Tensor) -> list[Tensor]:
        pyramid: list[Tensor] = self.fpn(self.trunk(image))
        return pyramid
