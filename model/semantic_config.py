"""What a semantic segmentation network is made of: one frozen configuration, and the presets."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from typing import Any, Literal

from model import config as instance
from model.config import FPN, ModelConfig, Preprocessing, ResNet, Timm


@dataclass(frozen=True)
class SemanticFPN:
    """A head on the pyramid whose levels are convolved, enlarged to the finest one's size, and summed."""

    fpn: FPN = field(default_factory=FPN)
    first_level: Literal[2, 3] = 2  # P2–P5 with logits at stride 4, or P3–P5 at stride 8
    channels: int = 128

    @property
    def stride(self) -> int:
        """Of the coarse logits, in network-input pixels."""
        return 2**self.first_level


@dataclass(frozen=True)
class DeepLabV3:
    """Atrous spatial pyramid pooling on a trunk that is dilated below `output_stride`."""

    output_stride: Literal[8, 16] = 16
    channels: int = 256
    dropout: float = 0.1

    @property
    def stride(self) -> int:
        """Of the coarse logits, in network-input pixels."""
        return self.output_stride


@dataclass(frozen=True)
class SemanticPoint:
    """The point head of a label map; coarse input at every layer made the reference's training diverge."""

    point_dim: int = 256
    num_point_fc: int = 3
    coarse_each_layer: bool = False

    @property
    def class_agnostic(self) -> bool:
        return False


@dataclass(frozen=True)
class SemanticConfig:
    """SemanticFPN or DeepLabV3, alone or (with `point`) refined by PointRend."""

    backbone: ResNet | Timm
    num_classes: int
    base: SemanticFPN | DeepLabV3 = field(default_factory=SemanticFPN)
    point: SemanticPoint | None = field(default_factory=SemanticPoint)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= 255:  # label maps are 8 bits; 255 is no class
            raise ValueError(f"num_classes must be 2–255, got {self.num_classes}")


_STREET_PIXELS = Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3, short_edge=480, long_edge=640)
_STREET_POINT = SemanticPoint(point_dim=128)


def _street(base: SemanticFPN | DeepLabV3, point: SemanticPoint | None = None) -> SemanticConfig:
    """CamVid's 11 classes over a small trunk."""
    return SemanticConfig(Timm("tf_efficientnet_lite0", freeze_at=0), 11, base, point, _STREET_PIXELS)


_FPN = SemanticFPN(FPN(channels=128, norm=True))
_OS16, _OS8 = DeepLabV3(16, channels=128), DeepLabV3(8, channels=128)
SEMANTIC_PRESETS: types.MappingProxyType[str, SemanticConfig] = types.MappingProxyType(
    {
        "semantic_fpn_r101_cityscapes": SemanticConfig(
            ResNet(101, freeze_at=0), 19, preprocessing=Preprocessing(short_edge=1024, long_edge=2048)
        ),
        "street_fpn": _street(_FPN),
        "street_fpn_pointrend": _street(_FPN, _STREET_POINT),
        "street_deeplab_os16": _street(_OS16),
        "street_deeplab_os8": _street(_OS8),
        "street_deeplab_os16_pointrend": _street(_OS16, _STREET_POINT),
    }
)


def any_preset(name: str) -> ModelConfig | SemanticConfig:
    """The named preset of either task. Raises ValueError that lists the names."""
    presets: dict[str, ModelConfig | SemanticConfig] = {**instance.PRESETS, **SEMANTIC_PRESETS}
    if name not in presets:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(presets)}")
    return presets[name]


def any_from_dict(data: dict[str, Any]) -> ModelConfig | SemanticConfig:
    """Inverse of `config.to_dict` for either task. Raises ValueError that names an unknown or missing key."""
    if data.get("type") != SemanticConfig.__name__:
        return instance.from_dict(data)
    parts = (SemanticConfig, SemanticFPN, DeepLabV3, SemanticPoint, FPN, Preprocessing, ResNet, Timm)
    return instance.assemble(data, SemanticConfig, parts)
