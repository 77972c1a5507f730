"""Named configurations of networks, of both tasks in one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from model.config.categories import CITYSCAPES, CITYSCAPES_LABELS, Category
from model.config.instance import (
    BoxHeadConfig,
    ConvHeadConfig,
    MaskRCNNConfig,
    PointRendConfig,
    RPNConfig,
)
from model.config.network import NetworkConfig
from model.config.parts import FPNConfig, Preprocessing, ResNetConfig, TimmConfig
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticFPNConfig, SemanticPointConfig
from model.errors import UserError

_RESNEXT_PIXELS = Preprocessing(std=(57.375, 57.12, 58.395))
_CITYSCAPES_PIXELS = Preprocessing(short_edge=1024, long_edge=2048)
_RESNEXT = ResNetConfig(depth=101, bottleneck=256, groups=32, stride_in_1x1=False)
_PEOPLE = MaskRCNNConfig(
    backbone=TimmConfig("tf_efficientnet_lite0", freeze_at=2),
    num_classes=1,
    fpn=FPNConfig(channels=128, norm=True),
    # Standing people are taller than wide. Anchors of P2 are 8 pixels apart, of P3 and P4 16: at a quarter of the cost
    # nothing is lost (docs/experiments.md).
    rpn=RPNConfig(
        anchor_sizes=(20, 40, 80, 160, 320),
        aspect_ratios=(1.0, 2.0, 3.0),
        pre_nms=500,
        post_nms=200,
        steps=(2, 2, 1, 1, 1),
    ),
    box=BoxHeadConfig(fc_dim=512, samples=2, refinements=2),
    mask=PointRendConfig(conv_dim=64, fc_dim=768, point_dim=128, context=15),
    preprocessing=Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3, short_edge=576, long_edge=768),
    mask_score=True,
)
# Objects of any kind and any form, in boxes that somebody gives.
_ANYTHING = dataclasses.replace(
    _PEOPLE,
    backbone=TimmConfig("tf_efficientnet_lite0", freeze_at=3),
    rpn=RPNConfig(anchor_sizes=(20, 40, 80, 160, 320), pre_nms=500, post_nms=250),
    box=BoxHeadConfig(fc_dim=512),
    preprocessing=Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3, short_edge=512, long_edge=704),
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
# Every one of them has a twin with the baseline's mask head.
_BASELINES = {
    name.replace("pointrend_rcnn", "mask_rcnn")
    if name != "people"
    else "mask_rcnn_people": dataclasses.replace(config, mask=ConvHeadConfig(conv_dim=config.fpn.channels))
    for name, config in _POINTREND.items()
}

_STREET_PIXELS = Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3, short_edge=480, long_edge=640)
_STREET_POINT = SemanticPointConfig(point_dim=128)
_STREET_FPN = SemanticFPNConfig(FPNConfig(channels=128, norm=True))
_OS16, _OS8 = DeepLabV3Config(16, channels=128), DeepLabV3Config(8, channels=128)


def _street(
    base: SemanticFPNConfig | DeepLabV3Config, point: SemanticPointConfig | None = None
) -> SemanticConfig:
    """Return a network for CamVid's 11 classes over a small trunk."""
    return SemanticConfig(TimmConfig("tf_efficientnet_lite0", freeze_at=0), 11, base, point, _STREET_PIXELS)


_SEMANTIC = {
    "semantic_fpn_r101_cityscapes": SemanticConfig(
        ResNetConfig(101, freeze_at=0), 19, preprocessing=_CITYSCAPES_PIXELS
    ),
    "street_fpn": _street(_STREET_FPN),
    "street_fpn_pointrend": _street(_STREET_FPN, _STREET_POINT),
    "street_deeplab_os16": _street(_OS16),
    "street_deeplab_os8": _street(_OS8),
    "street_deeplab_os16_pointrend": _street(_OS16, _STREET_POINT),
}
PRESETS: Mapping[str, NetworkConfig] = MappingProxyType(
    {**_POINTREND, **_BASELINES, "anything": _ANYTHING, **_SEMANTIC}
)
_CITYSCAPES = {"instance": CITYSCAPES, "semantic": CITYSCAPES_LABELS}


def preset(name: str) -> NetworkConfig:
    """Return the named preset. Raises UserError that lists the names."""
    if name not in PRESETS:
        raise UserError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_categories(name: str) -> tuple[Category, ...] | None:
    """Return the classes that the preset was made for, if they are known by its name."""
    return _CITYSCAPES[preset(name).task] if name.endswith("cityscapes") else None
