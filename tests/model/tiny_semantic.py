"""Semantic networks small enough to train and run in a test."""

from __future__ import annotations

import dataclasses

import torch

from model.config.parts import FPNConfig, Preprocessing, ResNetConfig
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticFPNConfig, SemanticPointConfig
from model.networks.build import build_network
from model.networks.semantic import SemanticNet

CLASSES = 3
CONFIG = SemanticConfig(
    backbone=ResNetConfig(50, stem_channels=8, res2_channels=16, bottleneck=4, freeze_at=0),
    num_classes=CLASSES,
    base=SemanticFPNConfig(FPNConfig(channels=16), channels=64),
    point=SemanticPointConfig(point_dim=16),
    preprocessing=Preprocessing(std=(57.0, 57.0, 57.0), short_edge=64, long_edge=128),
)
DEEPLAB = SemanticConfig(
    CONFIG.backbone, CLASSES, DeepLabV3Config(16, channels=8), CONFIG.point, CONFIG.preprocessing
)
FROM_P3 = dataclasses.replace(
    CONFIG, base=SemanticFPNConfig(FPNConfig(channels=16), first_level=3, channels=64)
)


def network(config: SemanticConfig = CONFIG, seed: int = 0) -> SemanticNet:
    """Return a network with random weights; residual branches are damped, because no trained norm does it here."""
    torch.manual_seed(seed)
    net = build_network(config)
    for name, buffer in net.named_buffers():
        if name.endswith("conv3.norm.weight"):
            buffer.fill_(0.3)
    return net
