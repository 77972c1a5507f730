"""What a network is made of: one frozen configuration, and the presets.

Everything that changes a prediction stands here (widths, thresholds, preprocessing); what only
matters while training stands in `model/training/recipe.py`. A configuration travels inside its checkpoint.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Config = TypeVar("Config")


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes the network's input (spec of the reference: BGR, 0–255, mean only).

    The shorter edge is resized to `short_edge` unless the longer would pass `long_edge`;
    pixels become (x - mean) / std in `channel_order`, padded with 0 to a multiple of `stride`.
    """

    channel_order: Literal["BGR", "RGB"] = "BGR"
    mean: tuple[float, float, float] = (103.53, 116.28, 123.675)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    short_edge: int = 800
    long_edge: int = 1333
    stride: int = 32


@dataclass(frozen=True)
class ResNetConfig:
    """Bottleneck ResNetConfig or ResNeXt with frozen BatchNorm; widths double from stage to stage."""

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

    Most convolutional ones are; transformers that are built for one size or give [B, H, W, C] are refused.
    """

    name: str
    freeze_at: int = 2  # modules up to and including the feature of stride 2**freeze_at do not train


@dataclass(frozen=True)
class FPNConfig:
    channels: int = 256
    norm: bool = False  # BatchNorm after each convolution (needed over backbones with large features)


@dataclass(frozen=True)
class RPNConfig:
    """Region proposals; one anchor size per level P2–P6, decoded and selected as in the reference."""

    anchor_sizes: tuple[float, ...] = (32, 64, 128, 256, 512)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height by width
    pre_nms: int = 1000  # per level
    post_nms: int = 1000  # per image
    nms_threshold: float = 0.7


@dataclass(frozen=True)
class BoxHeadConfig:
    fc_dim: int = 1024
    num_fc: int = 2
    pool: int = 7
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100


@dataclass(frozen=True)
class PointRendConfig:
    """Coarse 7×7 head and point head (paper section 4.2)."""

    conv_dim: int = 256
    fc_dim: int = 1024
    num_fc: int = 2
    pool: int = 14
    side: int = 7
    point_dim: int = 256
    num_point_fc: int = 3
    coarse_each_layer: bool = True
    class_agnostic: bool = False


@dataclass(frozen=True)
class ConvHeadConfig:
    """The 4×conv baseline head: 28×28 logits from a 14×14 RoIAlign over P2–P5."""

    conv_dim: int = 256
    num_conv: int = 4
    pool: int = 14
    class_agnostic: bool = False


@dataclass(frozen=True)
class MaskRCNNConfig:
    """Mask R-CNN with a PointRend or a 4×conv mask head."""

    backbone: ResNetConfig | TimmConfig
    num_classes: int = 80
    fpn: FPNConfig = field(default_factory=FPNConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    box: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    mask: PointRendConfig | ConvHeadConfig = field(default_factory=PointRendConfig)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    mask_score: bool = False  # scores are the box's times the coarse mask's expected precision

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if len(self.rpn.anchor_sizes) != 5:
            raise ValueError(f"one anchor size for each of P2–P6 is needed, got {self.rpn.anchor_sizes}")


_RESNEXT_PIXELS = Preprocessing(std=(57.375, 57.12, 58.395))
_CITYSCAPES_PIXELS = Preprocessing(short_edge=1024, long_edge=2048)
_RESNEXT = ResNetConfig(depth=101, bottleneck=256, groups=32, stride_in_1x1=False)
_PEOPLE = MaskRCNNConfig(
    backbone=TimmConfig("tf_efficientnet_lite0", freeze_at=2),
    num_classes=1,
    fpn=FPNConfig(channels=128, norm=True),
    rpn=RPNConfig(
        anchor_sizes=(20, 40, 80, 160, 320), aspect_ratios=(1.0, 2.0, 3.0), pre_nms=500, post_nms=250
    ),  # people stand
    box=BoxHeadConfig(fc_dim=512),
    mask=PointRendConfig(conv_dim=64, fc_dim=512, point_dim=128),
    preprocessing=Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3, short_edge=512, long_edge=640),
    mask_score=True,
)
_POINTREND = {
    "pointrend_rcnn_r50_fpn": MaskRCNNConfig(ResNetConfig(50)),
    "pointrend_rcnn_r101_fpn": MaskRCNNConfig(ResNetConfig(101)),
    "pointrend_rcnn_x101_fpn": MaskRCNNConfig(_RESNEXT, preprocessing=_RESNEXT_PIXELS),
    "pointrend_rcnn_r50_fpn_cityscapes": MaskRCNNConfig(
        ResNetConfig(50), num_classes=8, preprocessing=_CITYSCAPES_PIXELS
    ),
    "people": _PEOPLE,
}
_BASELINES = {
    name.replace("pointrend_rcnn", "mask_rcnn")
    if name != "people"
    else "mask_rcnn_people": dataclasses.replace(config, mask=ConvHeadConfig(conv_dim=config.fpn.channels))
    for name, config in _POINTREND.items()
}
PRESETS: types.MappingProxyType[str, MaskRCNNConfig] = types.MappingProxyType(_POINTREND | _BASELINES)


def preset(name: str) -> MaskRCNNConfig:
    """The named preset. Raises ValueError that lists the names."""
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


# The names of these classes in files.
_TAGS = {
    "ResNetConfig": "ResNet",
    "TimmConfig": "Timm",
    "FPNConfig": "FPN",
    "RPNConfig": "RPN",
    "BoxHeadConfig": "BoxHead",
    "PointRendConfig": "PointRendMask",
    "ConvHeadConfig": "ConvMask",
    "MaskRCNNConfig": "ModelConfig",
    "SemanticFPNConfig": "SemanticFPN",
    "DeepLabV3Config": "DeepLabV3",
    "SemanticPointConfig": "SemanticPoint",
}


def to_dict(config: Any) -> dict[str, Any]:
    """A JSON-ready dictionary of a configuration; unions carry their class name under "type"."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            members = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return {"type": _TAGS.get(type(value).__name__, type(value).__name__)} | members
        return list(value) if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(config)
    return result


def from_dict(data: dict[str, Any]) -> MaskRCNNConfig:
    """Inverse of `to_dict`. Raises ValueError that names an unknown or missing key."""
    parts = (
        MaskRCNNConfig,
        Preprocessing,
        ResNetConfig,
        TimmConfig,
        FPNConfig,
        RPNConfig,
        BoxHeadConfig,
        PointRendConfig,
        ConvHeadConfig,
    )
    return assemble(data, MaskRCNNConfig, parts)


def assemble(data: dict[str, Any], whole: type[Config], parts: Iterable[type]) -> Config:
    """A configuration of class `whole` from its dictionary, with `parts` as the only classes in it."""
    known = {_TAGS.get(cls.__name__, cls.__name__): cls for cls in parts}

    def build(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(build(v) for v in value)
        if not isinstance(value, dict):
            return value
        cls = known.get(value.get("type", ""))
        if cls is None:
            raise ValueError(f"unknown configuration part {value.get('type')!r}")
        members = {k: build(v) for k, v in value.items() if k != "type"}
        names = set(typing.get_type_hints(cls))
        if unknown := sorted(set(members) - names):
            raise ValueError(f"unknown keys in {cls.__name__}: {', '.join(unknown)}")
        try:
            return cls(**members)
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: {error}") from error

    config = build(data)
    if not isinstance(config, whole):
        raise ValueError(f"not a model configuration: {data.get('type')!r}")
    return config
