"""Where a network's weights come from before training: an ImageNet classifier, or another checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.checkpoints.checkpoint import REFERENCE_SUFFIXES, Checkpoint, load
from model.checkpoints.detectron2.arrays import Array, read_arrays
from model.checkpoints.detectron2.names import POINT, rename
from model.checkpoints.errors import CheckpointError
from model.config.network import NetworkConfig
from model.errors import UserError
from model.networks.backbone import TimmTrunk, load_imagenet
from model.networks.build import Network

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
    """Fill the trunk from a classifier; says so in one line.

    A timm trunk takes a state dict (.pth, see `load_imagenet`); a ResNet takes the reference's backbone
    files (.pkl, its own names or Caffe2's) and torchvision's (.pth). Raises ValueError if it does not fit.
    """
    trunk, arrays = network.backbone.trunk, read_arrays(path)
    if isinstance(trunk, TimmTrunk):
        load_imagenet(trunk, {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
        return f"started the trunk from {path.name}"
    renamed = _tensors({_TRUNK + resnet_name(name): array for name, array in arrays.items()})
    given = {name.removeprefix("backbone.trunk."): tensor for name, tensor in renamed.items()}
    own = trunk.state_dict()
    fitting = _fitting(given, own)
    # Without statistics a norm keeps mean 0 and variance 1: Caffe2's are merged into weight and bias.
    lacking = [k for k in own.keys() - fitting if not k.endswith(("running_mean", "running_var"))]
    if lacking:
        raise UserError(f"{path.name} does not fit the trunk: it lacks {min(lacking)} as shaped there")
    trunk.load_state_dict(own | fitting)
    foreign = "layer1.0.conv1.weight" in arrays and network.config.preprocessing.channel_order != "RGB"
    note = " (torchvision's, trained on RGB; this network reads BGR and has to adapt)" if foreign else ""
    return f"started the trunk from {path.name}{note}"


def from_checkpoint(network: Network, path: Path) -> str:
    """Copy every tensor of a checkpoint whose name and shape fit; says how many did.

    The checkpoint is a native one or the reference's (.pkl, .pth). Another number of classes leaves only
    the last layers untouched, so a new data set starts from a trained detector.
    """
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", *REFERENCE_SUFFIXES):
        raise CheckpointError(f"{path.name} is no checkpoint: expected .safetensors, .pkl or .pth")
    own = network.state_dict()
    if suffix == ".safetensors":
        checkpoint = load(path)
        given = checkpoint.tensors
        note = _other_anchors(network.config, checkpoint.config) + _other_threshold(
            network.config, checkpoint
        )
    else:
        given, note = _tensors(read_arrays(path)), ""
    fitting = _fitting(given, own)
    if not fitting:
        raise UserError(f"nothing in {path.name} fits this network")
    network.load_state_dict(own | fitting)
    return f"started {len(fitting)} of {len(own)} tensors from {path.name}{note}"


def resnet_name(name: str) -> str:
    """The reference's name of a classifier's parameter, without the trunk's prefix."""
    name = name.removeprefix("module.").removeprefix(_TRUNK)
    for pattern, replacement in _CLASSIFIERS.items():
        name = re.sub(pattern, replacement, name)
    return name


def _other_anchors(own: NetworkConfig, given: NetworkConfig) -> str:
    """A remark if two detectors' anchors differ, whose predictors nevertheless fit."""
    if own.task != "instance" or given.task != "instance":
        return ""
    theirs, ours = (
        {"anchor_sizes": c.rpn.anchor_sizes, "aspect_ratios": c.rpn.aspect_ratios} for c in (given, own)
    )
    differ = ", ".join(f"{name} {value}" for name, value in theirs.items() if value != ours[name])
    return f" (its proposals, which have to adapt, were trained with {differ})" if differ else ""


def _other_threshold(own: NetworkConfig, given: Checkpoint) -> str:
    """A remark if the scores that are taken over were calibrated, for another threshold than this network's."""
    config = given.config
    if own.task != "instance" or config.task != "instance" or "calibration" not in given.notes:
        return ""
    theirs, ours = config.box.score_threshold, own.box.score_threshold
    if theirs == ours or config.num_classes != own.num_classes:
        return ""
    return f" (its scores are calibrated: --set network.box.score_threshold={theirs} finds the same boxes, not {ours})"


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """The reference's arrays as float32 tensors under our names."""
    tensors = {}
    for name, array in arrays.items():
        ours = rename(name.removeprefix("module."))
        is_conv1d = ours.startswith(POINT) and array.ndim == 3
        tensors[ours] = torch.from_numpy(np.array(array[..., 0] if is_conv1d else array, dtype=np.float32))
    return tensors


def _fitting(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `given` that `own` has with the same shape."""
    return {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
