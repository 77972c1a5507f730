"""Boxes: the delta coding, clipping, matching and subsampling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from model.networks.boxes import (
    BOX_WEIGHTS,
    DELTA_LIMIT,
    RPN_WEIGHTS,
    area,
    cell_anchors,
    clip,
    decode,
    encode,
    grid_anchors,
    match,
    subsample,
)

corner = st.floats(-500, 1500, width=32)
extent = st.floats(1, 800, width=32)
box_lists = st.lists(st.tuples(corner, corner, extent, extent), min_size=1, max_size=8)


def corners(sized: list[tuple[float, float, float, float]]) -> Tensor:
    return torch.tensor([(x, y, x + w, y + h) for x, y, w, h in sized])


@settings(deadline=None)
@given(box_lists, st.sampled_from([RPN_WEIGHTS, BOX_WEIGHTS]))
def test_decode_undoes_encode(sized: list[tuple[float, ...]], weights: tuple[float, ...]) -> None:
    """As far as the limit on growth allows: 62.5 times in either direction."""
    boxes = corners(sized)
    goals = boxes.flip(0)
    sides = [(b[:, 2:] - b[:, :2]) for b in (goals, boxes)]
    within = ((sides[0] / sides[1]) < 60).all(1)
    found = decode(encode(goals, boxes, weights), boxes, weights)
    torch.testing.assert_close(found[within], goals[within], atol=0.05, rtol=1e-4)
    torch.testing.assert_close(decode(torch.zeros_like(boxes), boxes, weights), boxes, atol=1e-3, rtol=1e-5)


def test_weights_divide_the_deltas() -> None:
    box = torch.tensor([[0.0, 0, 10, 20]])
    moved = decode(torch.tensor([[1.0, -1, 5 * torch.log(torch.tensor(2.0)), 0]]), box, BOX_WEIGHTS)
    torch.testing.assert_close(moved, torch.tensor([[-4.0, -2, 16, 18]]))


def test_growth_is_limited() -> None:
    box = torch.tensor([[0.0, 0, 16, 16]])
    wild = decode(torch.tensor([[0.0, 0, 1000, 1000]]), box, RPN_WEIGHTS)
    assert torch.exp(torch.tensor(DELTA_LIMIT)) == pytest.approx(62.5)
    torch.testing.assert_close(wild[:, 2:] - wild[:, :2], torch.full((1, 2), 1000.0))


@settings(deadline=None)
@given(box_lists, st.integers(1, 900), st.integers(1, 900))
def test_clipped_boxes_lie_in_their_own_image(
    sized: list[tuple[float, ...]], height: int, width: int
) -> None:
    boxes = corners(sized)
    sizes = torch.tensor([[height, width], [7.0, 3.0]])
    found = clip(torch.stack([boxes, boxes]), sizes)
    for clipped, (h, w) in zip(found, sizes.tolist(), strict=True):
        assert bool((clipped >= 0).all())
        assert bool((clipped[:, ::2] <= w).all() and (clipped[:, 1::2] <= h).all())
        inside = (boxes >= 0).all(1) & (boxes[:, 2] <= w) & (boxes[:, 3] <= h)
        assert torch.equal(clipped[inside], boxes[inside])
    assert torch.equal(clip(torch.stack([boxes, boxes])[:, :, None], sizes)[:, :, 0], found)


def test_anchors_keep_their_area_and_stand_on_the_cells_corners() -> None:
    anchors = cell_anchors(32, (0.5, 1.0, 2.0))
    torch.testing.assert_close(area(anchors), torch.full((3,), 1024.0))
    torch.testing.assert_close(anchors[:, :2], -anchors[:, 2:])
    assert ((anchors[:, 3] - anchors[:, 1]) / (anchors[:, 2] - anchors[:, 0])).tolist() == [0.5, 1, 2]
    grid = grid_anchors(anchors, 2, 3, 8).view(2, 3, 3, 4)
    torch.testing.assert_close(grid[1, 2], anchors + torch.tensor([16.0, 8, 16, 8]))
    torch.testing.assert_close(grid[0, 0], anchors)


IOU = torch.tensor([[0.9, 0.5, 0.1, 0.0, 0.3], [0.2, 0.6, 0.2, 0.0, 0.7]])


def test_match_labels_by_two_thresholds() -> None:
    index, labels = match(IOU, 0.3, 0.7, keep_best=False)
    assert index[[0, 1, 2, 4]].tolist() == [0, 1, 1, 1]
    assert labels.tolist() == [1, -1, 0, 0, 1]


def test_thresholds_themselves_count_as_above() -> None:
    assert match(torch.tensor([[0.3, 0.7]]), 0.3, 0.7, keep_best=False)[1].tolist() == [-1, 1]
    assert match(torch.tensor([[0.5, 0.499]]), 0.5, 0.5, keep_best=False)[1].tolist() == [1, 0]


def test_each_target_keeps_its_best_boxes_even_when_they_overlap_little() -> None:
    weak = torch.tensor([[0.2, 0.2, 0.1], [0.0, 0.0, 0.8]])
    assert match(weak, 0.3, 0.7, keep_best=False)[1].tolist() == [0, 0, 1]
    index, labels = match(weak, 0.3, 0.7, keep_best=True)
    assert index.tolist() == [0, 0, 1] and labels.tolist() == [1, 1, 1]


def test_without_targets_everything_is_background() -> None:
    for keep_best in (True, False):
        index, labels = match(torch.zeros(0, 4), 0.3, 0.7, keep_best)
        assert labels.tolist() == [0] * 4 and index.dtype == torch.int64 and len(index) == 4
    assert [t.shape for t in match(box_iou(torch.ones(2, 4), torch.zeros(0, 4)), 0.5, 0.5, False)] == [
        (0,)
    ] * 2


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([-1, 0, 1]), max_size=60), st.integers(0, 40), st.sampled_from([0, 0.25, 0.5, 1])
)
def test_subsample_fills_up_with_negatives(labels: list[int], count: int, fraction: float) -> None:
    tensor = torch.tensor(labels, dtype=torch.int64)
    positive, negative = subsample(tensor, count, fraction, torch.Generator().manual_seed(0))
    assert len(positive) == min(labels.count(1), int(count * fraction))
    assert len(negative) == min(labels.count(0), count - len(positive))
    assert bool((tensor[positive] == 1).all() and (tensor[negative] == 0).all())
    assert len(set(positive.tolist())) == len(positive) and len(set(negative.tolist())) == len(negative)


def test_subsample_draws_from_its_generator() -> None:
    labels = torch.ones(1000, dtype=torch.int64)
    one, same, other = (
        subsample(labels, 20, 1.0, torch.Generator().manual_seed(s))[0].tolist() for s in (1, 1, 2)
    )
    assert one == same != other and max(one) > 100
