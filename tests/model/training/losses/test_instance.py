"""All losses of a Mask R-CNN together."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config.instance import MaskRCNNConfig
from model.data.instance_samples import Target
from model.training.losses.instance import instance_losses
from tests.model import tiny
from tests.model.training.losses.support import (
    BOX_ONLY,
    NONE,
    SAMPLING,
    TARGETS,
    all_losses,
    generator,
    lively,
)


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.CONV], ids=["pointrend", "conv"])
@pytest.mark.parametrize(
    ("targets", "masks"),
    [(TARGETS, True), ([NONE, TARGETS[0]], True), ([NONE, NONE], False), (BOX_ONLY, False)],
    ids=["objects", "one image empty", "all empty", "boxes only"],
)
def test_losses_reach_every_parameter(config: MaskRCNNConfig, targets: list[Target], masks: bool) -> None:
    network = lively(config)
    found = all_losses(network, targets)
    names = {"mask_coarse", "mask_point"} if config is tiny.CONFIG else {"mask_conv"}
    assert set(found) == {"rpn_objectness", "rpn_box", "box_class", "box_regression", *names}
    assert all(value.isfinite() and value.ndim == 0 for value in found.values())
    assert all((found[name].item() > 0) is masks for name in names)
    sum(found.values()).backward()  # type: ignore[union-attr]
    missing = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    mask_gradient = sum(
        p.grad.abs().sum().item() for p in network.mask_head.parameters() if p.grad is not None
    )
    assert (mask_gradient > 0) is masks


def test_a_box_head_that_refines_trains_where_it_moves_the_regions() -> None:
    config = dataclasses.replace(tiny.CONFIG, box=dataclasses.replace(tiny.CONFIG.box, refinements=1))
    found, plain = all_losses(lively(config), TARGETS), all_losses(lively(), TARGETS)
    assert set(found) - set(plain) == {"refined_box_class", "refined_box_regression"}
    assert found["refined_box_class"].item() > 0 and found["refined_box_regression"].isfinite()
    assert {n: found[n].item() == plain[n].item() for n in plain} == {
        n: not n.startswith("mask") for n in plain
    }


def test_losses_come_from_the_generator_alone() -> None:
    network = lively()
    one, same = (all_losses(network, TARGETS) for _ in range(2))
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in same.items()}


def test_a_detector_alone_has_no_mask_losses() -> None:
    network = lively()
    alone = instance_losses(network, *tiny.images(2), TARGETS, SAMPLING, generator(), masks=False)
    both = all_losses(network, TARGETS)
    assert {k: v.item() for k, v in alone.items()} == {
        k: v.item() for k, v in both.items() if not k.startswith("mask_")
    }


def test_bf16_is_close_and_heads_stay_float32() -> None:
    network = lively()
    images, sizes = tiny.images(2)
    found = instance_losses(network, images, sizes, TARGETS, SAMPLING, generator(), bf16=True)
    expected = all_losses(network, TARGETS)
    assert all(value.dtype == torch.float32 for value in found.values())
    assert found["rpn_objectness"].item() == pytest.approx(expected["rpn_objectness"].item(), rel=0.05)
