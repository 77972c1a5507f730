"""Start a trunk from an ImageNet classifier, under any of three kinds of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch

from model.checkpoints.detectron2.arrays import Array, read_arrays
from model.checkpoints.detectron2.convert import reference_tensors
from model.checkpoints.shapes import fitting
from model.errors import UserError
from model.networks.build import Network
from model.networks.timm_trunk import TimmTrunk, load_imagenet

# Classifiers' names → the reference's, each pattern in turn.
_CLASSIFIERS = {
    # Caffe2's, as in the reference's R-50.pkl
    r"^(res_)?conv1_": "stem.conv1_",
    r"^(res\d)_(\d+)_branch1_": r"\1.\2.shortcut_",
    r"^(res\d)_(\d+)_branch2a_": r"\1.\2.conv1_",
    r"^(res\d)_(\d+)_branch2b_": r"\1.\2.conv2_",
    r"^(res\d)_(\d+)_branch2c_": r"\1.\2.conv3_",
    r"_w$": ".weight",
    r"_bn_s$": ".norm.weight",
    r"_bn_b$": ".norm.bias",
    r"_bn_rm$": ".norm.running_mean",
    r"_bn_riv$": ".norm.running_var",
    # torchvision's
    r"^(conv1|bn1)\.": r"stem.\1.",
    r"^layer1\.": "res2.",
    r"^layer2\.": "res3.",
    r"^layer3\.": "res4.",
    r"^layer4\.": "res5.",
    r"\.downsample\.0\.": ".shortcut.",
    r"\.downsample\.1\.": ".shortcut.norm.",
    r"\.bn(\d)\.": r".conv\1.norm.",
}
_TRUNK = "backbone.bottom_up."


def from_classifier(network: Network, path: Path) -> str:
    """Fill the trunk from a classifier; return one line that says so.

    A timm trunk takes a state dict (.pth, see `load_imagenet`); a ResNet takes the reference's backbone
    files (.pkl, its own names or Caffe2's) and torchvision's (.pth). Raises UserError if it does not fit.
    """
    note = _FILLERS[network.config.backbone.type](network, read_arrays(path), path.name)
    return f"started the trunk from {path.name}{note}"


def _fill_timm(network: Network, arrays: Mapping[str, Array], _: str) -> str:
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    load_imagenet(cast(TimmTrunk, network.backbone.trunk), tensors)
    return ""


def _fill_resnet(network: Network, arrays: Mapping[str, Array], file: str) -> str:
    renamed = reference_tensors({_TRUNK + resnet_name(name): array for name, array in arrays.items()})
    given = {name.removeprefix("backbone.trunk."): tensor for name, tensor in renamed.items()}
    trunk = network.backbone.trunk
    own = trunk.state_dict()
    found = fitting(given, own)
    # Without statistics a norm keeps mean 0 and variance 1: Caffe2's are merged into weight and bias.
    lacking = [k for k in own.keys() - found if not k.endswith(("running_mean", "running_var"))]
    if lacking:
        raise UserError(f"{file} does not fit the trunk: it lacks {min(lacking)} as shaped there")
    trunk.load_state_dict(own | found)
    foreign = "layer1.0.conv1.weight" in arrays and network.config.preprocessing.channel_order != "RGB"
    return " (torchvision's, trained on RGB; this network reads BGR and has to adapt)" if foreign else ""


# By the type of the trunk's configuration.
_FILLERS: Mapping[str, Callable[[Network, Mapping[str, Array], str], str]] = {
    "Timm": _fill_timm,
    "ResNet": _fill_resnet,
}


def resnet_name(name: str) -> str:
    """Return the reference's name of a classifier's parameter, without the trunk's prefix."""
    name = name.removeprefix(_TRUNK)
    for pattern, replacement in _CLASSIFIERS.items():
        name = re.sub(pattern, replacement, name)
    return name
