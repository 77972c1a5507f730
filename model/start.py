"""Where a network's weights come from before training: an ImageNet classifier, or another checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from model.backbone import TimmTrunk, load_imagenet
from model.checkpoint import load
from model.rcnn import MaskRCNN


def from_classifier(network: MaskRCNN, path: Path) -> None:
    """Fill a timm trunk from a classifier's state dict (.pth). Raises ValueError if it does not fit."""
    trunk = network.backbone.trunk
    if not isinstance(trunk, TimmTrunk):
        raise ValueError("a classifier's weights can only start a timm trunk")
    load_imagenet(trunk, torch.load(path, map_location="cpu", weights_only=True))


def from_checkpoint(network: MaskRCNN, path: Path) -> str:
    """Copy every tensor of a native checkpoint whose name and shape fit; says how many did.

    Another number of classes leaves only the last layers untouched, so a new data set starts from
    a trained detector.
    """
    own = network.state_dict()
    given = load(path).tensors
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise ValueError(f"nothing in {path.name} fits this network")
    network.load_state_dict(own | fitting)
    return f"started {len(fitting)} of {len(own)} tensors from {path.name}"
