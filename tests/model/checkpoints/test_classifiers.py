"""Classifiers fill a trunk, under three kinds of names."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoints.classifiers import from_classifier, resnet_name
from model.checkpoints.errors import CheckpointError
from model.config.instance import MaskRCNNConfig
from model.config.parts import FPNConfig, TimmConfig
from tests.model import tiny

STATISTICS = ("running_mean", "running_var")


def own_name(name: str) -> str:
    """Of our trunk's tensor, as the reference's backbone files have it."""
    return name.replace("stem.", "stem.conv1.").replace(".conv.weight", ".weight")


def torchvision_name(name: str) -> str:
    name = own_name(name).removeprefix("stem.")
    name = re.sub(r"^res(\d)", lambda match: f"layer{int(match[1]) - 1}", name)
    name = name.replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")
    return re.sub(r"conv(\d)\.norm", r"bn\1", name)


def caffe2_name(name: str) -> str:
    name = own_name(name).replace("stem.conv1.norm", "res_conv1.norm").replace("stem.", "")
    name = name.replace("shortcut", "branch1")
    name = re.sub(r"^(res\d\.\d+)\.conv(\d)", lambda m: f"{m[1]}.branch2{' abc'[int(m[2])]}", name)
    for ours, theirs in {"norm.weight": "bn_s", "norm.bias": "bn_b", "weight": "w"}.items():
        name = re.sub(f"{ours}$", theirs, name)
    return name.replace(".", "_")


def trunk_tensors() -> dict[str, Tensor]:
    torch.manual_seed(9)
    return {k: torch.rand_like(v) + 0.5 for k, v in tiny.network().backbone.trunk.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "suffix", "rename"),
    [("own", ".pkl", own_name), ("caffe2", ".pkl", caffe2_name), ("torchvision", ".pth", torchvision_name)],
)
def test_classifiers_fill_a_resnet(
    name: str, suffix: str, rename: Callable[[str], str], tmp_path: Path
) -> None:
    wanted, path = trunk_tensors(), tmp_path / f"R-50{suffix}"
    given = {rename(k): v for k, v in wanted.items() if name != "caffe2" or not k.endswith(STATISTICS)}
    given["fc1000_w"] = torch.zeros(10, 3)
    if suffix == ".pth":
        torch.save(given, path)
    else:
        content = {k: v.numpy() for k, v in given.items()}
        path.write_bytes(pickle.dumps({"model": content, "__author__": "x"} if name == "own" else content))
    network = tiny.network()
    before = network.state_dict()["backbone.fpn.lateral.0.weight"].clone()
    said = from_classifier(network, path)
    assert said.startswith(f"started the trunk from {path.name}")
    assert ("torchvision's, trained on RGB" in said) == (name == "torchvision")
    for key, found in network.backbone.trunk.state_dict().items():
        if name == "caffe2" and key.endswith(STATISTICS):  # merged into weight and bias
            assert (found == float(key.endswith("var"))).all()
        else:
            assert torch.equal(found, wanted[key]), key
    assert torch.equal(network.state_dict()["backbone.fpn.lateral.0.weight"], before)


@pytest.mark.parametrize(
    ("theirs", "name"),
    [
        ("conv1_w", "stem.conv1.weight"),
        ("res_conv1_bn_s", "stem.conv1.norm.weight"),
        ("res4_22_branch2b_bn_b", "res4.22.conv2.norm.bias"),
        ("res2_0_branch1_bn_riv", "res2.0.shortcut.norm.running_var"),
        ("bn1.running_mean", "stem.conv1.norm.running_mean"),
        ("layer3.22.conv3.weight", "res4.22.conv3.weight"),
        ("layer1.0.downsample.1.bias", "res2.0.shortcut.norm.bias"),
        ("backbone.bottom_up.res5.2.conv1.norm.weight", "res5.2.conv1.norm.weight"),
        ("res2.0.conv1.weight", "res2.0.conv1.weight"),
    ],
)
def test_names(theirs: str, name: str) -> None:
    assert resnet_name(theirs) == name


def test_a_classifier_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "R-50.pkl"
    given = {own_name(k): v.numpy() for k, v in trunk_tensors().items()}
    given["res3.1.conv2.weight"] = np.zeros((4, 4, 3, 3), np.float32)
    path.write_bytes(pickle.dumps(given))
    with pytest.raises(ValueError, match=r"R-50\.pkl does not fit the trunk: it lacks res3\.1\.conv2\.conv"):
        from_classifier(tiny.network(), path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"R-50\.pkl could not be read"):
        from_classifier(tiny.network(), path)


def test_a_classifier_fills_a_timm_trunk(tmp_path: Path) -> None:
    config = MaskRCNNConfig(TimmConfig("test_efficientnet"), num_classes=1, fpn=FPNConfig(channels=8))
    source, network = tiny.network(config, seed=3), tiny.network(config)
    state = source.backbone.trunk.net.state_dict()
    torch.save(state | {"classifier.weight": torch.zeros(2, 2)}, tmp_path / "c.pth")
    from_classifier(network, tmp_path / "c.pth")
    assert all(torch.equal(v, state[k]) for k, v in network.backbone.trunk.net.state_dict().items())
