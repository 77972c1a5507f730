"""Masks that train in true boxes: which regions, and that nothing else of the network is needed."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config.instance import MaskRCNNConfig
from model.training.losses.instance import true_box_losses
from model.training.losses.true_boxes import moved, true_rois
from tests.model import tiny
from tests.model.training.losses.support import BOX_ONLY, NONE, SAMPLING, TARGETS, generator, lively

SIZES = torch.tensor([[64.0, 96.0]] * 2)
EXACT = dataclasses.replace(SAMPLING, rois=10, roi_positives=0.5, jitter=0.0)


def test_every_image_has_as_many_regions_and_all_its_boxes_in_turn() -> None:
    rois = true_rois(TARGETS, SIZES, EXACT, generator())
    assert rois.batch.tolist() == [0] * 5 + [1] * 5
    assert sorted(rois.target.tolist()) == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1] or sorted(
        rois.target[:5].tolist()
    ) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    assert torch.equal(rois.boxes, rois.goals) and bool(rois.masked.all())
    for i, target in enumerate(TARGETS):
        mine = rois.batch == i
        assert torch.equal(rois.boxes[mine], target.boxes[rois.target[mine]])
        assert torch.equal(rois.classes[mine], target.classes[rois.target[mine]])


def test_boxes_without_a_mask_are_no_regions() -> None:
    mixed = dataclasses.replace(TARGETS[0], masked=torch.tensor([False, True]))
    assert true_rois([mixed], SIZES, EXACT, generator()).target.tolist() == [1] * 5
    assert len(true_rois([NONE, BOX_ONLY[0]], SIZES, EXACT, generator()).boxes) == 0


def test_about_half_of_the_boxes_move_in_proportion_to_their_sides() -> None:
    boxes = torch.tensor([[10.0, 10, 30, 50]]).repeat(1000, 1)
    change = moved(boxes, 0.1, generator()) - boxes
    still = (change == 0).all(1)
    assert 400 < int(still.sum()) < 600
    x, y = change[~still][:, 0::2].std().item(), change[~still][:, 1::2].std().item()
    assert y == pytest.approx(2 * x, rel=0.15) and 0.02 * 20 < x < 0.1 * 20
    assert torch.equal(moved(boxes, 0.0, generator()), boxes)


def test_moved_boxes_stay_in_their_image_and_never_vanish() -> None:
    wild = dataclasses.replace(EXACT, rois=400, jitter=5.0)
    boxes = true_rois(TARGETS, SIZES, wild, generator()).boxes
    assert bool((boxes >= 0).all() and (boxes <= torch.tensor([96.0, 64, 96, 64])).all())
    assert bool((boxes[:, 2:] - boxes[:, :2] >= 1).all())


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.CONV], ids=["pointrend", "conv"])
@pytest.mark.parametrize("bf16", [False, True])
def test_masks_train_without_a_detector(config: MaskRCNNConfig, bf16: bool) -> None:
    network = lively(config)
    images, sizes = tiny.images(2)
    found = true_box_losses(network, images, sizes, TARGETS, SAMPLING, generator(), bf16=bf16)
    assert set(found) == ({"mask_coarse", "mask_point"} if config is tiny.CONFIG else {"mask_conv"})
    sum(found.values()).backward()  # type: ignore[union-attr]
    reached = {n for n, p in network.named_parameters() if p.grad is not None}
    levels = network.mask_head.levels
    idle = ("rpn.", "box_head.", *(f"backbone.fpn.output.{i}." for i in range(levels, 4)))
    assert reached == {n for n, p in network.named_parameters() if p.requires_grad and not n.startswith(idle)}


def test_images_without_a_mask_have_no_loss() -> None:
    network = lively()
    images, sizes = tiny.images(2)
    found = true_box_losses(network, images, sizes, [NONE, BOX_ONLY[0]], SAMPLING, generator())
    assert [value.item() for value in found.values()] == [0, 0]
    sum(found.values()).backward()  # type: ignore[union-attr]
