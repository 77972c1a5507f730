"""What a semantic segmentation network is made of: one frozen configuration, and the presets."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from typing import Any, Literal

from model.config import instance
from model.config.instance import FPNConfig, MaskRCNNConfig, Preprocessing, ResNetConfig, TimmConfig


@dataclass(frozen=True)
class SemanticFPNConfig:
    """A head on the pyramid whose levels are convolved, enlarged to the finest one's size, and summed."""

    fpn: FPNConfig = field(default_factory=FPNConfig)
    first_level: Literal[2, 3] = 2  # P2–P5 with logits at stride 4, or P3–P5 at stride 8
    channels: int = 128

    @property
    def stride(self) -> int:
        """Of the coarse logits, in network-input pixels."""
        return 2**self.first_level


@dataclass(frozen=True)
class DeepLabV3Config:
    """Atrous spatial pyramid pooling on a trunk that is dilated below `output_stride`."""

    output_stride: Literal[8, 16] = 16
    channels: int = 256
    dropout: float = 0.1

    @property
    def stride(self) -> int:
        """Of the coarse logits, in network-input pixels."""
        return self.output_stride


@dataclass(frozen=True)
class SemanticPointConfig:
    """The point head of a label map; coarse input at every layer made the reference's training diverge."""

    point_dim: int = 256
    num_point_fc: int = 3
    coarse_each_layer: bool = False

    @property
    def class_agnostic(self) -> bool:
        return False


@dataclass(frozen=True)
class SemanticConfig:
    """SemanticFPN or DeepLabV3Config, alone or (with `point`) refined by PointRend."""

    backbone: ResNetConfig | TimmConfig
    num_classes: int
    base: SemanticFPNConfig | DeepLabV3Config = field(default_factory=SemanticFPNConfig)
    point: SemanticPointConfig | None = field(default_factory=SemanticPointConfig)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= 255:  # label maps are 8 bits; 255 is no class
            raise ValueError(f"num_classes must be 2–255, got {self.num_classes}")


_STREET_PIXELS = Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3, short_edge=480, long_edge=640)
_STREET_POINT = SemanticPointConfig(point_dim=128)


def _street(
    base: SemanticFPNConfig | DeepLabV3Config, point: SemanticPointConfig | None = None
) -> SemanticConfig:
    """CamVid's 11 classes over a small trunk."""
    return SemanticConfig(TimmConfig("tf_efficientnet_lite0", freeze_at=0), 11, base, point, _STREET_PIXELS)


_FPN = SemanticFPNConfig(FPNConfig(channels=128, norm=True))
_OS16, _OS8 = DeepLabV3Config(16, channels=128), DeepLabV3Config(8, channels=128)
SEMANTIC_PRESETS: types.MappingProxyType[str, SemanticConfig] = types.MappingProxyType(
    {
        "semantic_fpn_r101_cityscapes": SemanticConfig(
            ResNetConfig(101, freeze_at=0), 19, preprocessing=Preprocessing(short_edge=1024, long_edge=2048)
        ),
        "street_fpn": _street(_FPN),
        "street_fpn_pointrend": _street(_FPN, _STREET_POINT),
        "street_deeplab_os16": _street(_OS16),
        "street_deeplab_os8": _street(_OS8),
        "street_deeplab_os16_pointrend": _street(_OS16, _STREET_POINT),
    }
)


def any_preset(name: str) -> MaskRCNNConfig | SemanticConfig:
    """The named preset of either task. Raises ValueError that lists the names."""
    presets: dict[str, MaskRCNNConfig | SemanticConfig] = {**instance.PRESETS, **SEMANTIC_PRESETS}
    if name not in presets:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(presets)}")
    return presets[name]


def any_from_dict(data: dict[str, Any]) -> MaskRCNNConfig | SemanticConfig:
    """Inverse of `config.to_dict` for either task. Raises ValueError that names an unknown or missing key."""
    if data.get("type") != SemanticConfig.__name__:
        return instance.from_dict(data)
    parts = (
        SemanticConfig,
        SemanticFPNConfig,
        DeepLabV3Config,
        SemanticPointConfig,
        FPNConfig,
        Preprocessing,
        ResNetConfig,
        TimmConfig,
    )
    return instance.assemble(data, SemanticConfig, parts)
