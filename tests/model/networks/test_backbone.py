"""timm trunks: which are taken, what is frozen, and that trying them out leaves no trace."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from model.config.parts import FPNConfig, TimmConfig
from model.networks.backbone import FPN
from model.networks.layers import hold_depthwise
from model.networks.timm_trunk import TimmTrunk, TrunkConv


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coatnet_nano_rw_224", "coatnet_nano_rw_224 does not take images of any size: "),
        ("mambaout_femto", r"mambaout_femto gives maps of \[\(1, 16, 24, 48\), .* instead of \[B, C, H, W\]"),
        ("test_vit", "test_vit has no features at strides"),
    ],
)
def test_unfit_trunks_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmTrunk(TimmConfig(name, freeze_at=0))


def test_trying_the_trunk_draws_nothing_and_moves_no_statistics() -> None:
    torch.manual_seed(0)
    trunk = TimmTrunk(TimmConfig("test_efficientnet"))
    after = torch.rand(3)
    torch.manual_seed(0)
    plain = timm.create_model("test_efficientnet", features_only=True)
    assert torch.equal(after, torch.rand(3))
    tensors = trunk.net.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in plain.state_dict().items())
    assert trunk.training and trunk.net.training


def test_a_trunk_on_the_meta_device_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimmTrunk, "forward", None)
    with torch.device("meta"):
        trunk = TimmTrunk(TimmConfig("test_efficientnet"))
    assert all(parameter.is_meta for parameter in trunk.parameters())


@pytest.mark.parametrize(
    ("name", "freeze_at", "first_free"),
    [
        ("resnet18", 0, "conv1"),
        ("resnet18", 1, "layer1"),
        ("resnet18", 2, "layer2"),
        ("tf_efficientnet_lite0", 3, "blocks.3"),
    ],
)
def test_freezing_ends_with_the_feature_of_its_stride(name: str, freeze_at: int, first_free: str) -> None:
    trunk = TimmTrunk(TimmConfig(name, freeze_at))
    free = [n for n, p in trunk.net.named_parameters() if p.requires_grad]
    assert free[0].startswith(first_free)


def test_depthwise_filters_may_stay() -> None:
    trunk = TimmTrunk(TimmConfig("tf_efficientnet_lite0", 3))
    before = {n for n, p in trunk.net.named_parameters() if p.requires_grad}
    hold_depthwise(trunk)
    free = {n for n, p in trunk.net.named_parameters() if p.requires_grad}
    assert before - free == {n for n in before if n.endswith("conv_dw.weight")} != set()


def test_depthwise_gradients_are_computed_in_single_precision() -> None:
    torch.manual_seed(0)
    conv = TrunkConv.like(nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False))
    x = torch.randn(1, 6, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        trained = conv(x)
        with torch.no_grad():
            predicted = conv(x)
    assert (trained.dtype, predicted.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(trained, conv(x))


def test_freezing_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="freeze_at 1 matches no parameter of convnext_atto"):
        TimmTrunk(TimmConfig("convnext_atto", freeze_at=1))


@pytest.mark.parametrize("count", [1, 4])
def test_the_finest_maps_are_those_of_the_pyramid(count: int) -> None:
    torch.manual_seed(0)
    fpn = FPN((3, 4, 5, 6), FPNConfig(channels=8))
    features = [torch.randn(1, c, 32 // s, 48 // s) for c, s in zip((3, 4, 5, 6), (1, 2, 4, 8), strict=True)]
    found, whole = fpn.finest(features, count), fpn(features)
    assert len(found) == count
    assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=False))
