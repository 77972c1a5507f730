"""Semantic networks: shapes, what is dilated, and losses that always train."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from model.config.parts import FPNConfig, ResNetConfig, TimmConfig
from model.config.presets import PRESETS, preset
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticFPNConfig, SemanticPointConfig
from model.networks.build import build_network
from model.networks.resnet import ResNet
from model.networks.semantic import SemanticNet
from model.training.losses.semantic import mean_cross_entropy, semantic_losses
from tests.model.tiny_semantic import CONFIG, DEEPLAB

LOSSES = {"points": 40, "oversample": 3.0, "importance": 0.75, "ignore": 255}


@pytest.mark.parametrize(
    ("base", "stride", "fine_channels"),
    [
        (SemanticFPNConfig(FPNConfig(16), 2, 32), 4, 16),
        (SemanticFPNConfig(FPNConfig(16), 3, 32), 8, 16),
        (DeepLabV3Config(16, 8), 16, 16),
        (DeepLabV3Config(8, 8), 8, 16),
    ],
)
@pytest.mark.parametrize("trunk", [CONFIG.backbone, TimmConfig("test_efficientnet", freeze_at=0)])
def test_maps_have_the_strides_of_their_base(
    base: SemanticFPNConfig | DeepLabV3Config,
    stride: int,
    fine_channels: int,
    trunk: ResNetConfig | TimmConfig,
) -> None:
    config = dataclasses.replace(CONFIG, base=base, backbone=trunk)
    network = build_network(config)
    with torch.inference_mode():
        maps = network(torch.randn(2, 3, 64, 96))
    if isinstance(base, DeepLabV3Config) and isinstance(trunk, TimmConfig):
        fine_channels = network.backbone.trunk.channels[0]
    assert base.stride == stride
    assert maps.coarse.shape == (2, 3, 64 // stride, 96 // stride)
    assert maps.fine.shape == (2, fine_channels, 16, 24)
    assert network.point is not None and network.point.fine_channels == fine_channels


@pytest.mark.parametrize(
    ("output_stride", "sides"), [(32, [16, 8, 4, 2]), (16, [16, 8, 4, 4]), (8, [16, 8, 8, 8])]
)
def test_dilation_replaces_strides_and_takes_the_same_weights(output_stride: int, sides: list[int]) -> None:
    config = ResNetConfig(50, stem_channels=8, res2_channels=16, bottleneck=4)
    trunk = ResNet(config, output_stride).eval()
    trunk.load_state_dict(ResNet(config).state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert [x.shape[-1] for x in trunk(image)] == sides


def test_the_last_feature_of_a_frozen_dilated_trunk_still_trains() -> None:
    network = SemanticNet(dataclasses.replace(DEEPLAB, backbone=TimmConfig("test_efficientnet", freeze_at=3)))
    names = [n for n, p in network.backbone.trunk.named_parameters() if p.requires_grad]
    assert names


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.task == "semantic"])
def test_presets_build(name: str) -> None:
    config = preset(name)
    with torch.device("meta"):
        network = build_network(config)
    assert config.task == "semantic" and (network.point_head is None) == (config.point is None)


@pytest.mark.parametrize("config", [CONFIG, DEEPLAB])
def test_all_parameters_train(config: SemanticConfig) -> None:
    torch.manual_seed(0)
    network = SemanticNet(config).train()
    losses = semantic_losses(network, torch.randn(2, 3, 64, 64), torch.randint(0, 3, (2, 64, 64)), **LOSSES)
    assert set(losses) == {"semantic_coarse", "semantic_point"}
    total(losses).backward()  # type: ignore[no-untyped-call]
    idle = [n for n, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert not idle


def test_a_batch_without_labels_has_losses_of_zero_and_gradients() -> None:
    network = SemanticNet(CONFIG).train()
    losses = semantic_losses(network, torch.randn(1, 3, 64, 64), torch.full((1, 64, 64), 255), **LOSSES)
    assert total(losses).item() == 0
    total(losses).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool((p.grad == 0).all()) for p in network.parameters())


def test_ignored_labels_do_not_count_and_a_base_alone_has_one_loss() -> None:
    logits, labels = torch.randn(1, 3, 4), torch.tensor([[0, 255, 2, 255]])
    expected = mean_cross_entropy(logits[..., ::2], labels[:, ::2], 255)
    assert torch.allclose(mean_cross_entropy(logits, labels, 255), expected)
    network = SemanticNet(dataclasses.replace(CONFIG, point=None))
    losses = semantic_losses(network, torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64).long(), **LOSSES)
    assert set(losses) == {"semantic_coarse"}


def test_the_same_generator_draws_the_same_points() -> None:
    network = SemanticNet(CONFIG).eval()
    images, labels = torch.randn(1, 3, 64, 64), torch.randint(0, 3, (1, 64, 64))
    a, b = (
        semantic_losses(network, images, labels, **LOSSES, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(a["semantic_point"], b["semantic_point"])


@pytest.mark.parametrize("each_layer", [False, True])
def test_logits_of_projections_are_those_of_the_point_head(each_layer: bool) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, point=SemanticPointConfig(8, 3, each_layer))
    head = build_network(config).point
    assert head is not None
    fine, coarse = torch.randn(16, 5, 5), torch.randn(7, 3)
    with torch.inference_mode():
        expected = head(fine[:, 2, 3].expand(1, 7, -1), coarse[None])[0]
        projected = head.project_fine(fine[None])[0, 2, 3].repeat(7, 1)
        hidden = head.hidden(projected, lambda layer: head.coarse_term(coarse, layer))
        found = head.all_logits(hidden, coarse)
    assert torch.allclose(found, expected, atol=1e-5)


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
