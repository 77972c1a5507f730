"""Region proposals: the choice among anchors, level by level and image by image."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from model.networks import boxes as box
from model.networks.rpn import NOTHING, RPN, Proposals, select
from tests.model import tiny

SIZES = torch.tensor([[60.0, 90.0], [40.0, 50.0]])
Level = tuple[Tensor, Tensor, Tensor]


def level(seed: int, height: int, width: int, stride: int) -> Level:
    """Random logits and deltas [2 images] of a level's anchors."""
    generator = torch.Generator().manual_seed(seed)
    anchors = box.grid_anchors(box.cell_anchors(4 * stride, (0.5, 2.0)), height, width, stride)
    logits = torch.randn(2, len(anchors), generator=generator)
    return logits, torch.randn(2, len(anchors), 4, generator=generator) * 0.3, anchors


def chosen(levels: list[Level], image: int | slice = slice(None), **limits: int) -> Proposals:
    logits, deltas, anchors = (list(column) for column in zip(*levels, strict=True))
    image = slice(image, image + 1) if isinstance(image, int) else image
    limits = {"pre_nms": 20, "post_nms": 25} | limits
    return select(
        [x[image] for x in logits],
        [x[image] for x in deltas],
        anchors,
        SIZES[image],
        nms_threshold=0.7,
        **limits,
    )


@pytest.fixture
def levels() -> list[Level]:
    return [level(0, 12, 16, 8), level(1, 3, 4, 32), level(2, 1, 1, 64)]  # 384, 24 and 2 anchors


def one_by_one(levels: list[Level], image: int, pre_nms: int, post_nms: int) -> tuple[Tensor, Tensor]:
    """The reference's choice, spelled out for one image."""
    found: list[tuple[float, list[float]]] = []
    for logits, deltas, anchors in levels:
        best = logits[image].argsort(descending=True)[:pre_nms]
        boxes = box.decode(deltas[image, best], anchors[best], box.RPN_WEIGHTS)
        height, width = SIZES[image].tolist()
        boxes = torch.stack([boxes[:, i].clamp(0, width if i % 2 == 0 else height) for i in range(4)], 1)
        sides = boxes[:, 2:] - boxes[:, :2]
        usable = (sides > 0).all(1)
        boxes, scores = boxes[usable], logits[image, best][usable]
        kept = nms(boxes, scores, 0.7)
        found += zip(scores[kept].tolist(), boxes[kept].tolist(), strict=True)
    found.sort(key=lambda pair: -pair[0])
    return torch.tensor([b for _, b in found[:post_nms]]), torch.tensor([s for s, _ in found[:post_nms]])


@pytest.mark.parametrize(("pre_nms", "post_nms"), [(20, 25), (5, 100), (500, 30)])
def test_the_choice_is_the_references(levels: list[Level], pre_nms: int, post_nms: int) -> None:
    found = chosen(levels, pre_nms=pre_nms, post_nms=post_nms)
    for image in range(2):
        boxes, logits = one_by_one(levels, image, pre_nms, post_nms)
        count = len(logits)
        torch.testing.assert_close(found.boxes[image, :count], boxes, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.logits[image, :count], logits)
        assert bool((found.logits[image, count:] == NOTHING).all())


def test_places_are_as_many_as_asked_for_or_possible(levels: list[Level]) -> None:
    assert chosen(levels).logits.shape == (2, 25)
    assert chosen(levels, pre_nms=4, post_nms=25).logits.shape == (2, 12)
    assert chosen(levels[2:], pre_nms=10, post_nms=8).boxes.shape == (2, 8, 4)
    assert chosen(levels).logits.diff(dim=1).nan_to_num(0).max() <= 0


def test_a_batch_is_its_images(levels: list[Level]) -> None:
    together = chosen(levels)
    for image in range(2):
        alone = chosen(levels, image)
        assert torch.equal(alone.logits[0], together.logits[image])
        real = alone.logits[0] > NOTHING
        assert torch.equal(alone.boxes[0, real], together.boxes[image, real])


def test_boxes_without_area_in_the_image_go(levels: list[Level]) -> None:
    """The second image is 50 wide: anchors right of it have no width once they are clipped."""
    anchors = torch.tensor([[0.0, 0, 20, 20], [60, 0, 80, 20], [0, 45, 20, 55], [-30, 5, -1, 9]])
    flat = torch.zeros(2, 4), torch.zeros(2, 4, 4), anchors
    flat[0][:] = torch.tensor([0.0, 3, 2, 1])
    found = chosen([flat], pre_nms=6, post_nms=6)
    assert [int((row > NOTHING).sum()) for row in found.logits] == [3, 1]
    assert found.boxes[1, 0].tolist() == [0, 0, 20, 20]
    assert found.boxes[0, 0].tolist() == [60, 0, 80, 20]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_goes(bad: float) -> None:
    logits, deltas, anchors = level(0, 2, 2, 16)
    logits[0, 0] = bad
    if bad != bad:
        deltas[0, 1] = bad
    found = chosen([(logits, deltas, anchors)], pre_nms=8, post_nms=8)
    real = found.logits > NOTHING
    assert bool(found.logits[real].isfinite().all() and found.boxes[real].isfinite().all())
    assert bool(real.any())


def test_levels_do_not_suppress_each_other() -> None:
    same = torch.tensor([[0.0, 0, 20, 20]])
    one = torch.full((2, 1), 2.0), torch.zeros(2, 1, 4), same
    two = torch.full((2, 1), 1.0), torch.zeros(2, 1, 4), same
    assert int((chosen([one, two]).logits > NOTHING).sum()) == 4
    joint = torch.tensor([[2.0, 1.0]] * 2), torch.zeros(2, 2, 4), same.repeat(2, 1)
    assert int((chosen([joint]).logits > NOTHING).sum()) == 2


@torch.no_grad()
def test_the_head_orders_by_row_column_and_ratio() -> None:
    head = RPN(tiny.CONFIG)
    features = torch.randn(1, 16, 3, 5)
    logits, deltas, anchors = head([features] * 5)
    assert [len(a) for a in anchors] == [45] * 5 and deltas[0].shape == (1, 45, 4)
    hidden = head.conv(features).relu()
    row, column, ratio = 2, 3, 1
    place = (row * 5 + column) * 3 + ratio
    torch.testing.assert_close(logits[1][0, place], head.objectness(hidden)[0, ratio, row, column])
    moves = head.deltas(hidden)[0, 4 * ratio : 4 * ratio + 4, row, column]
    torch.testing.assert_close(deltas[1][0, place], moves)
    torch.testing.assert_close(
        anchors[1][place], torch.tensor([24.0, 16, 24, 16]) + torch.tensor([-12.0, -12, 12, 12])
    )


@torch.no_grad()
def test_p2_can_be_read_at_every_second_cell() -> None:
    config = dataclasses.replace(tiny.CONFIG, rpn=dataclasses.replace(tiny.CONFIG.rpn, steps=(2, 1, 1, 1, 1)))
    every, second = RPN(tiny.CONFIG), RPN(config)
    second.load_state_dict(every.state_dict())
    pyramid = [
        torch.randn(1, 16, height, width) for height, width in ((5, 8), (3, 4), (2, 2), (1, 1), (1, 1))
    ]
    whole, found = every(pyramid), second(pyramid)
    for part, (all_levels, levels) in enumerate(zip(whole, found, strict=True)):
        rest = all_levels[0].unflatten(-1 if part == 0 else -2, (5, 8, 3))
        kept = rest[..., ::2, ::2, :] if part == 0 else rest[..., ::2, ::2, :, :]
        torch.testing.assert_close(levels[0], kept.flatten(-3 if part == 0 else -4, -1 if part == 0 else -2))
        for one, other in zip(all_levels[1:], levels[1:], strict=True):
            torch.testing.assert_close(one, other)
