"""Networks and pictures small enough to train and run in a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.config.instance import BoxHeadConfig, ConvHeadConfig, MaskRCNNConfig, PointRendConfig, RPNConfig
from model.config.parts import FPNConfig, Preprocessing, ResNetConfig
from model.data.augment import Augmentation
from model.data.instance_samples import Target
from model.networks.mask_rcnn import MaskRCNN
from model.training.recipe import InstanceRecipe, Sampling
from tests.model.coco_files import write

CLASSES = 2
CONFIG = MaskRCNNConfig(
    backbone=ResNetConfig(50, stem_channels=8, res2_channels=16, bottleneck=4),
    num_classes=CLASSES,
    fpn=FPNConfig(channels=16),
    rpn=RPNConfig(anchor_sizes=(16, 24, 32, 48, 64), pre_nms=60, post_nms=30),
    box=BoxHeadConfig(fc_dim=32),
    mask=PointRendConfig(conv_dim=8, fc_dim=32, point_dim=16),
    preprocessing=Preprocessing(std=(57.0, 57.0, 57.0), short_edge=64, long_edge=128),
)
CONV = dataclasses.replace(CONFIG, mask=ConvHeadConfig(conv_dim=8))
SAMPLING = Sampling(anchors=32, pre_nms=60, post_nms=30, rois=16, roi_positives=0.5, points=20)
RECIPE = InstanceRecipe(
    steps=6,
    batch_size=2,
    optimizer="adamw",
    lr=2e-3,
    warmup_steps=0,
    clip_norm=5.0,
    augmentation=Augmentation((64,), 128),
    sampling=SAMPLING,
)


def network(config: MaskRCNNConfig = CONFIG, seed: int = 0) -> MaskRCNN:
    """Return a network with random weights; residual branches are damped, because no trained norm does it here."""
    torch.manual_seed(seed)
    net = MaskRCNN(config)
    for name, buffer in net.named_buffers():
        if name.endswith("conv3.norm.weight"):
            buffer.fill_(0.3)
    return net


def targets(height: int, width: int, boxes: Sequence[Sequence[float]], *, masks: bool = True) -> Target:
    """Return ellipses that fill their boxes, with classes in turn."""
    places = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x0, y0, x1, y1 = places[:, :, None, None].unbind(1)
    inside = ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 <= 1
    return Target(places, torch.arange(len(places)) % CLASSES, inside.to(torch.uint8) if masks else None)


def images(count: int, height: int = 64, width: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return normalised noise and its sizes, as `network_input` does."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, height, width, generator=generator)
    return noise, torch.tensor([[height, width]] * count, dtype=torch.float32)


def write_data(folder: Path, count: int = 6, *, box_only: Sequence[int] = ()) -> Path:
    """Write a COCO file of `count` pictures of 64×64, each with a bright disc and a dark one, and the pictures."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    y, x = np.mgrid[0:64, 0:64]
    annotations, pictures = [], []
    for image in range(1, count + 1):
        pixels = rng.normal(128, 10, (64, 64, 3))
        for kind, left in enumerate((2, 34)):
            radius = rng.uniform(9, 13)
            cx, cy = left + 14, rng.uniform(16, 48)
            pixels[(x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 < radius**2] = 230 if kind else 20
            polygon = np.stack([cx + radius * np.cos(angles), cy + radius * np.sin(angles)], 1)
            entry = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": kind + 1,
                "bbox": [cx - radius, cy - radius, 2 * radius, 2 * radius],
                "area": float(np.pi * radius**2),
                "iscrowd": 0,
            }
            if image not in box_only:
                entry["segmentation"] = [polygon.ravel().tolist()]
            annotations.append(entry)
        pictures.append(np.clip(pixels, 0, 255).astype(np.uint8))
    data = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(1, count + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "dark"}, {"id": 2, "name": "bright"}],
    }
    file = write(folder, data, pictures=False)
    for i, picture in enumerate(pictures, start=1):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return file
