"""Parts of configurations that the networks of both tasks share: preprocessing, trunks, the feature pyramid.

Everything that changes a prediction stands in these classes (widths, thresholds, preprocessing); what only
matters while training stands in `model/training`. `type` is the name of a class in files (model/config/network.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from model.errors import UserError


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes the network's input (the reference's: BGR, 0–255, mean only).

    The shorter edge is resized to `short_edge` unless the longer would pass `long_edge`;
    pixels become (x - mean) / std in `channel_order`, padded with 0 to a multiple of `stride`.
    """

    type: Literal["Preprocessing"] = field(default="Preprocessing", kw_only=True, repr=False)
    channel_order: Literal["BGR", "RGB"] = "BGR"
    mean: tuple[float, float, float] = (103.53, 116.28, 123.675)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    short_edge: int = 800
    long_edge: int = 1333
    stride: int = 32

    def __post_init__(self) -> None:
        if self.stride < 32 or self.stride % 32:
            raise UserError(f"preprocessing.stride must be a multiple of 32, got {self.stride}")
        if min(self.short_edge, self.long_edge) < 1:
            raise UserError(
                f"preprocessing.short_edge and long_edge must be at least 1, got {self.short_edge} and {self.long_edge}"
            )
        if not all(0 < value < math.inf for value in self.std):
            raise UserError(f"preprocessing.std must be positive numbers, got {self.std}")


@dataclass(frozen=True)
class ResNetConfig:
    """Bottleneck ResNet or ResNeXt with frozen BatchNorm; widths double from stage to stage."""

    type: Literal["ResNet"] = field(default="ResNet", kw_only=True, repr=False)
    depth: Literal[50, 101] = 50
    stem_channels: int = 64
    res2_channels: int = 256
    bottleneck: int = 64  # width of res2's 3×3 convolution (groups × width per group)
    groups: int = 1
    stride_in_1x1: bool = True
    freeze_at: int = 2  # stages below this index do not train (1: stem, 2: stem and res2)


@dataclass(frozen=True)
class TimmConfig:
    """A `timm` model with features [B, C, H, W] at strides 4, 8, 16 and 32 of images of any size.

    Most convolutional models have them; transformers that are built for one size or give [B, H, W, C] are refused.
    """

    type: Literal["Timm"] = field(default="Timm", kw_only=True, repr=False)
    name: str
    freeze_at: int = 2  # modules up to and including the feature of stride 2**freeze_at do not train


TrunkConfig = Annotated[ResNetConfig | TimmConfig, Field(discriminator="type")]


@dataclass(frozen=True)
class FPNConfig:
    """Feature pyramid network over a trunk."""

    type: Literal["FPN"] = field(default="FPN", kw_only=True, repr=False)
    channels: int = 256
    norm: bool = False  # BatchNorm after each convolution (needed over trunks with large features)
