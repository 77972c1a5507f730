"""Learning rates and parameter groups."""

from __future__ import annotations

import dataclasses
import math

import pytest
from timm import layers
from torch import nn

from model.config.presets import preset
from model.networks.mask_rcnn import MaskRCNN
from model.training.optimizer import lr_factor, optimizer, rates
from model.training.recipe import InstanceRecipe
from model.training.recipes import INSTANCE_RECIPES
from tests.model import tiny


def test_warm_up_is_linear_from_its_factor() -> None:
    plan = InstanceRecipe(steps=1000, warmup_steps=100, warmup_factor=0.1)
    assert lr_factor(0, plan) == pytest.approx(0.1)
    assert lr_factor(50, plan) == pytest.approx(0.55)
    assert lr_factor(100, plan) == lr_factor(600, plan) == 1
    assert lr_factor(0, dataclasses.replace(plan, warmup_steps=0)) == 1


def test_steps_fall_to_a_tenth_at_each_milestone() -> None:
    plan = InstanceRecipe(steps=900, warmup_steps=0, milestones=(2 / 3, 8 / 9))
    assert [lr_factor(s, plan) for s in (599, 600, 799, 800, 899)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_the_published_schedule() -> None:
    found = [
        lr_factor(s, INSTANCE_RECIPES["pointrend_rcnn_r50_fpn"]) for s in (0, 1000, 59_999, 60_000, 80_000)
    ]
    assert found == pytest.approx([0.001, 1, 1, 0.1, 0.01])


def test_cosine_ends_at_zero_and_multiplies_the_warm_up() -> None:
    plan = InstanceRecipe(steps=200, warmup_steps=100, warmup_factor=0, schedule="cosine")
    assert [lr_factor(s, plan) for s in (100, 200, 300)] == pytest.approx([0.5, 0, 0])
    assert lr_factor(50, plan) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_norms_do_not_decay_and_the_trunk_has_its_own_rate() -> None:
    config = dataclasses.replace(tiny.CONFIG, fpn=dataclasses.replace(tiny.CONFIG.fpn, norm=True))
    network = tiny.network(config)
    groups = optimizer(network, InstanceRecipe(lr=0.1, backbone_lr=0.5, weight_decay=0.3)).param_groups
    settings = {
        id(p): (group["lr"], group["weight_decay"], group["initial_lr"])
        for group in groups
        for p in group["params"]
    }
    trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert set(settings) == {id(p) for p in trainable.values()}
    assert not any(name.startswith(("backbone.trunk.stem", "backbone.trunk.res2")) for name in trainable)
    assert settings[id(network.backbone.fpn.lateral[0][1].weight)] == (0.1, 0.0, 0.1)
    assert settings[id(network.backbone.trunk.res3[0].conv1.conv.weight)] == (0.05, 0.3, 0.05)
    assert settings[id(network.rpn.conv.bias)] == (0.1, 0.3, 0.1)


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(4), nn.GroupNorm(2, 4), layers.LayerNorm2d(4), layers.RmsNorm(4)]
)
def test_no_kind_of_norm_decays(norm: nn.Module) -> None:
    network = tiny.network()
    network.add_module("extra", norm)
    decays = {
        id(p): g["weight_decay"]
        for g in optimizer(network, InstanceRecipe()).param_groups
        for p in g["params"]
    }
    assert {decays[id(p)] for p in norm.parameters()} == {0.0}


def test_the_groups_of_the_people_preset() -> None:
    """A state that a run was stopped with can be loaded only into the same ones."""
    people = preset("people")
    assert people.task == "instance"
    groups = optimizer(MaskRCNN(people), INSTANCE_RECIPES["people"]).param_groups
    assert [len(group["params"]) for group in groups] == [39, 78, 40, 16]
    assert [group["weight_decay"] for group in groups] == [0.05, 0, 0.05, 0]
    assert [group["initial_lr"] for group in groups] == pytest.approx([2e-4, 2e-4, 4e-4, 4e-4])


@pytest.mark.parametrize("schedule", ["cosine", "step"])
@pytest.mark.parametrize("start", [0, 11])
def test_the_rate_of_each_step_is_its_factor_also_in_a_resumed_run(schedule: str, start: int) -> None:
    plan = InstanceRecipe(steps=30, warmup_steps=7, lr=0.3, backbone_lr=0.5, schedule=schedule)  # type: ignore[arg-type]
    optimiser = optimizer(tiny.network(), plan)
    scheduler = rates(optimiser, plan, start)
    for step in range(start, plan.steps):
        expected = [group["initial_lr"] * lr_factor(step, plan) for group in optimiser.param_groups]
        assert [group["lr"] for group in optimiser.param_groups] == expected
        optimiser.step()
        scheduler.step()
