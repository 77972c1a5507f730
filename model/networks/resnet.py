"""ResNet and ResNeXt trunks with frozen BatchNorm, in the shape that reference checkpoints have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config.parts import ResNetConfig

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class FrozenBatchNorm(nn.Module):
    """BatchNorm with fixed statistics and affine parameters: x·scale + shift, eps 1e-5.

    torchvision's FrozenBatchNorm2d has the same tensors and values, but goes over the map twice: on a CPU it takes
    up to double the time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


class ConvNorm(nn.Module):
    """Convolution without bias, then frozen BatchNorm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False
        )
        self.norm = FrozenBatchNorm(out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bottleneck: int,
        stride: int,
        groups: int,
        stride_in_1x1: bool,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = ConvNorm(in_channels, bottleneck, 1, first)
        self.conv2 = ConvNorm(bottleneck, bottleneck, 3, middle, groups, dilation)
        self.conv3 = ConvNorm(bottleneck, out_channels, 1)
        self.shortcut = (
            ConvNorm(in_channels, out_channels, 1, stride) if in_channels != out_channels else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.conv3(y) + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Image [B, 3, H, W] → features res2–res5 at strides 4, 8, 16, 32.

    With an `output_stride` of 16 or 8, res5 or res4 and res5 have dilated 3×3 convolutions instead of a stride.
    """

    def __init__(self, config: ResNetConfig, output_stride: int = 32) -> None:
        super().__init__()
        self.stem = ConvNorm(3, config.stem_channels, 7, 2)
        in_channels, out_channels, bottleneck = config.stem_channels, config.res2_channels, config.bottleneck
        channels = []
        for i, blocks in enumerate(BLOCKS[config.depth]):
            stage = []
            for block in range(blocks):
                dilation = max(2 ** (i + 2) // output_stride, 1)
                stride = 2 if i > 0 and block == 0 and dilation == 1 else 1
                stage.append(
                    Bottleneck(
                        in_channels,
                        out_channels,
                        bottleneck,
                        stride,
                        config.groups,
                        config.stride_in_1x1,
                        dilation,
                    )
                )
                in_channels = out_channels
            self.add_module(f"res{i + 2}", nn.Sequential(*stage))
            channels.append(out_channels)
            out_channels, bottleneck = out_channels * 2, bottleneck * 2
        self.channels = tuple(channels)
        frozen = [self.stem, *(self.get_submodule(f"res{i}") for i in range(2, 6))][: config.freeze_at]
        for part in frozen:
            part.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.stem(image)), 3, 2, 1)
        features = []
        for i in range(2, 6):
            x = self.get_submodule(f"res{i}")(x)
            features.append(x)
        return features
