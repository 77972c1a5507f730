"""The heads that are compared: alike where they shall be, and trained by the losses of model/training/losses."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from bench.paper.heads.variants import (
    BIASED,
    COARSE,
    CONV,
    POINTREND,
    build,
    build_all,
    head_losses,
    training_points,
)
from model.pointrend.points import class_uncertainty, regular_grid, sample
from model.training.losses.detection import Rois
from model.training.losses.masks import conv_mask_loss, pointrend_losses
from tests.model import tiny

TARGETS = [tiny.targets(64, 96, [[5, 5, 45, 40], [50, 10, 90, 60]])]
SAMPLING = dataclasses.replace(tiny.SAMPLING, coarse_samples=2, dice_weight=0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def regions() -> Rois:
    index = torch.tensor([0, 1])
    boxes = TARGETS[0].boxes
    return Rois(boxes, index * 0, TARGETS[0].classes, index, boxes, index >= 0)


def pyramid() -> list[Tensor]:
    return [torch.randn(1, 16, 64 >> i, 96 >> i, generator=generator(i)) for i in range(2, 7)]


def test_heads_begin_alike() -> None:
    heads = build_all(tiny.CONFIG, seed=3)
    one = heads[BIASED].state_dict()
    for name in POINTREND:
        assert all(torch.equal(tensor, one[key]) for key, tensor in heads[name].state_dict().items())
    coarse = heads[COARSE].state_dict()
    assert coarse and all(torch.equal(tensor, one[key]) for key, tensor in coarse.items())
    assert not torch.equal(
        one["point.fc.0.weight"], build_all(tiny.CONFIG, 4)[BIASED].state_dict()["point.fc.0.weight"]
    )


def test_a_checkpoint_of_the_baseline_has_no_widths() -> None:
    with pytest.raises(ValueError, match="needs one of PointRend"):
        build(BIASED, tiny.CONV, 0)


def test_losses_are_those_of_training() -> None:
    heads, features, rois = build_all(tiny.CONFIG), pyramid(), regions()

    def found(name: str) -> dict[str, Tensor]:
        return head_losses(name, heads[name], features, rois, TARGETS, SAMPLING, generator())

    expected = pointrend_losses(heads[BIASED], features, rois, TARGETS, SAMPLING, generator())
    assert (SAMPLING.oversample, SAMPLING.importance) == (3.0, 0.75)
    assert found(BIASED) == expected
    assert found(COARSE) == {"mask_coarse": expected["mask_coarse"]}
    assert found(CONV) == conv_mask_loss(heads[CONV], features, rois, TARGETS)
    assert {name: found(name)["mask_coarse"].item() for name in POINTREND} == dict.fromkeys(
        POINTREND, expected["mask_coarse"].item()
    )


def test_points_are_chosen_as_named() -> None:
    own = torch.randn(5, 7, 7, generator=generator(1)) * 3
    points = {name: training_points(name, own, SAMPLING, generator(2)) for name in POINTREND}
    doubt = {name: class_uncertainty(sample(own[:, None], p)).mean().item() for name, p in points.items()}
    assert torch.equal(points["grid"], regular_grid(4).expand(5, -1, 2))  # 20 points hold 4×4
    other = training_points("uniform", own.flip(1), SAMPLING, generator(2))
    assert torch.equal(points["uniform"], other), "the prediction plays no part"
    assert all(points[name].shape == (5, SAMPLING.points, 2) for name in ("uniform", "biased", "extreme"))
    assert doubt["uniform"] < doubt["biased"] < doubt["extreme"]
