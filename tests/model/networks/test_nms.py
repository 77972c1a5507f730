"""The operator for many rows of non-maximum suppression."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import nms

from model.networks.nms import nms_rows


def rows(seed: int, count: int, places: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, places, 4, generator=generator) * 20
    boxes[..., 2:] += boxes[..., :2] + 1
    return boxes, torch.rand(count, places, generator=generator)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31),
    st.integers(0, 4),
    st.integers(0, 20),
    st.sampled_from([0.3, 0.5, 0.7]),
    st.sampled_from([-1.0, 0.4, 2.0]),
)
def test_every_row_is_torchvisions_nms(
    seed: int, count: int, places: int, threshold: float, least: float
) -> None:
    boxes, scores = rows(seed, count, places)
    found = nms_rows(boxes, scores, threshold, least)
    assert found.shape == scores.shape and found.dtype == torch.bool
    for row in range(count):
        index = (scores[row] > least).nonzero()[:, 0]
        expected = index[nms(boxes[row, index], scores[row, index], threshold)]
        assert set(found[row].nonzero()[:, 0].tolist()) == set(expected.tolist())


def test_rows_do_not_touch() -> None:
    box = torch.tensor([[[0.0, 0, 10, 10], [0.0, 0, 10, 10]]]).repeat(2, 1, 1)
    scores = torch.tensor([[0.9, 0.8], [0.1, 0.2]])
    assert nms_rows(box, scores, 0.5, 0.0).tolist() == [[True, False], [False, True]]
    boxes, scores = rows(0, 3, 30)
    together = nms_rows(boxes, scores, 0.5, 0.0)
    alone = torch.cat([nms_rows(b[None], s[None], 0.5, 0.0) for b, s in zip(boxes, scores, strict=True)])
    assert torch.equal(together, alone)


def test_the_least_score_is_not_enough_and_empty_places_never_survive() -> None:
    boxes = torch.tensor([[[0.0, 0, 1, 1], [5.0, 5, 6, 6], [8.0, 8, 9, 9]]])
    scores = torch.tensor([[0.05, 0.0501, float("-inf")]])
    assert nms_rows(boxes, scores, 0.5, 0.05).tolist() == [[False, True, False]]
    assert not nms_rows(boxes, torch.zeros(1, 3), 0.5, 0.0).any()
    assert not nms_rows(boxes, torch.full((1, 3), float("-inf")), 0.5, -1e30).any()


def test_the_operator_is_registered_correctly() -> None:
    boxes, scores = rows(0, 2, 6)
    result = torch.library.opcheck(nms_rows, (boxes, scores, 0.5, 0.1))
    assert set(result.values()) == {"SUCCESS"}
