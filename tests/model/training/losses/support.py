"""Targets, regions and networks that the tests of the losses share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from model.config.instance import MaskRCNNConfig
from model.data.instance_samples import Target
from model.networks.mask_rcnn import MaskRCNN
from model.training.losses.detection import (
    Losses,
    Rois,
)
from model.training.losses.instance import instance_losses
from tests.model import tiny

SAMPLING = tiny.SAMPLING
TARGETS = [
    tiny.targets(64, 96, [[5, 5, 45, 40], [50, 10, 90, 60]]),
    tiny.targets(64, 96, [[20, 8, 80, 56]]),
]
NONE = tiny.targets(64, 96, [])
BOX_ONLY = [dataclasses.replace(t, masks=None) for t in TARGETS]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bce(logit: float, goal: float) -> float:
    return math.log1p(math.exp(-abs(logit))) + max(logit, 0) - logit * goal


def all_losses(network: MaskRCNN, targets: Sequence[Target], predicted_boxes: bool = True) -> Losses:
    sampling = dataclasses.replace(SAMPLING, predicted_boxes=predicted_boxes)
    return instance_losses(network, *tiny.images(len(targets)), targets, sampling, generator())


def lively(config: MaskRCNNConfig = tiny.CONFIG) -> MaskRCNN:
    """In training, with predictors that predict something."""
    network = tiny.network(config).train()
    with torch.no_grad():
        network.box_head.bbox_pred.weight.normal_(std=0.05, generator=generator(1))
    return network


def rois(boxes: list[list[float]], batch: list[int], classes: list[int], target: list[int]) -> Rois:
    places = torch.tensor(boxes)
    goals = torch.stack([TARGETS[i].boxes[t] for i, t in zip(batch, target, strict=True)])
    foreground = torch.tensor(classes) < tiny.CLASSES
    return Rois(places, torch.tensor(batch), torch.tensor(classes), torch.tensor(target), goals, foreground)


ROIS = (
    [[4.0, 6, 44, 38], [50, 10, 90, 60], [18, 4, 85, 60], [0, 0, 9, 9]],
    [0, 0, 1, 1],
    [0, 1, 0, 2],
    [0, 1, 0, 0],
)
