"""The box head's choice of detections."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from model.config.instance import BoxHeadConfig
from model.networks.box_head import BoxHead, Detections, refine, select
from model.networks.rpn import NOTHING, Proposals
from tests.model import tiny

SIZES = torch.tensor([[100.0, 120.0], [90.0, 80.0]])
CONFIG = BoxHeadConfig(score_threshold=0.05, nms_threshold=0.5, max_detections=100)


def logits(*chances: list[float]) -> Tensor:
    """Class logits [1, M, K + 1] with these softmax values; background takes the rest."""
    rows = torch.tensor([[*row, 1 - sum(row)] for row in chances], dtype=torch.float64)
    return rows.log().float()[None]


def at(*boxes: list[float]) -> Proposals:
    return Proposals(torch.tensor([boxes]), torch.zeros(1, len(boxes)))


def detect(scores: Tensor, proposals: Proposals, config: BoxHeadConfig = CONFIG) -> Detections:
    deltas = torch.zeros(*scores.shape[:2], scores.shape[2] - 1, 4)
    return select(scores, deltas, proposals, SIZES[: len(scores)], config)


APART = at([0, 0, 20, 20], [40, 40, 60, 60], [70, 10, 90, 30])


def test_one_box_may_have_several_classes_best_first() -> None:
    found = detect(logits([0.3, 0.4], [0.6, 0.01], [0.01, 0.2]), APART)
    assert found.classes.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.6, 0.4, 0.3, 0.2]))
    assert found.boxes[:, 0].tolist() == [40, 0, 0, 70] and found.batch.tolist() == [0] * 4


def test_the_score_must_be_above_the_threshold() -> None:
    scores = logits([0.25, 0.5], [0.25, 0.25], [0.5, 0.25]).softmax(-1)[..., :-1]
    threshold = float(scores[0, 0, 0])
    found = detect(
        logits([0.25, 0.5], [0.25, 0.25], [0.5, 0.25]),
        APART,
        dataclasses.replace(CONFIG, score_threshold=threshold),
    )
    assert sorted(found.boxes[:, 0].tolist()) == [0, 70]


def test_only_the_best_remain() -> None:
    two = dataclasses.replace(CONFIG, max_detections=2)
    found = detect(logits([0.3, 0.4], [0.6, 0.01], [0.01, 0.2]), APART, two)
    torch.testing.assert_close(found.scores, torch.tensor([0.6, 0.4]))


def test_suppression_stays_within_a_class() -> None:
    close = at([0, 0, 20, 20], [1, 0, 21, 20])
    found = detect(logits([0.8, 0.01], [0.7, 0.01]), close)
    assert found.boxes.tolist() == [[0, 0, 20, 20]]
    found = detect(logits([0.8, 0.01], [0.01, 0.7]), close)
    assert found.classes.tolist() == [0, 1]


def test_no_detections() -> None:
    found = detect(logits([0.01, 0.02], [0.04, 0.0]), at([0, 0, 9, 9], [20, 20, 30, 30]))
    assert [t.shape for t in found] == [(0, 4), (0,), (0,), (0,)]


def test_empty_places_are_not_detected() -> None:
    places = Proposals(APART.boxes, torch.tensor([[1.0, NOTHING, NOTHING]]))
    found = detect(logits([0.3, 0.01], [0.9, 0.05], [0.9, 0.05]), places)
    assert found.boxes.tolist() == [[0, 0, 20, 20]]


def test_boxes_are_moved_by_their_own_class_and_clipped() -> None:
    deltas = torch.zeros(1, 1, 2, 4)
    deltas[0, 0, 1] = torch.tensor([10.0, 0, 0, 0])  # one width to the right
    found = select(logits([0.4, 0.5]), deltas, at([80, 30, 110, 60]), SIZES[:1], CONFIG)
    assert found.classes.tolist() == [1, 0]
    torch.testing.assert_close(found.boxes, torch.tensor([[110.0, 30, 120, 60], [80, 30, 110, 60]]))


def test_a_batch_is_its_images() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 40, 4, generator=generator) * 2
    deltas = torch.randn(2, 40, 3, 4, generator=generator)
    boxes = torch.rand(2, 40, 4, generator=generator) * 60
    boxes[..., 2:] += boxes[..., :2] + 5
    places = Proposals(boxes, torch.zeros(2, 40))
    config = dataclasses.replace(CONFIG, max_detections=30)
    together = select(scores, deltas, places, SIZES, config)
    assert together.batch.tolist() == sorted(together.batch.tolist())
    for i in range(2):
        one = slice(i, i + 1)
        alone = select(
            scores[one], deltas[one], Proposals(boxes[one], places.logits[one]), SIZES[one], config
        )
        mine = together.batch == i
        assert 0 < len(alone.boxes) <= 30 and not alone.batch.any()
        for ours, theirs in zip(alone[:3], together[:3], strict=True):
            assert torch.equal(ours, theirs[mine])
        assert alone.scores.tolist() == sorted(alone.scores.tolist(), reverse=True)


@torch.no_grad()
def test_the_head_takes_any_number_of_boxes() -> None:
    head = BoxHead(tiny.CONFIG)
    pyramid = [torch.randn(2, 16, 32 >> i, 32 >> i) for i in range(5)]
    for count in (0, 3):
        boxes = torch.tensor([[4.0, 4, 60, 50]]).repeat(count, 1)
        scores, deltas = head(pyramid, boxes, torch.zeros(count))
        assert scores.shape == (count, 3) and deltas.shape == (count, 2, 4)


@torch.no_grad()
def test_boxes_are_refined_by_their_own_class_and_clipped_to_their_image() -> None:
    head = BoxHead(tiny.CONFIG)
    head.bbox_pred.weight.zero_()
    # Class 0 moves right by its width, class 1 down by its height; a delta of 10 is a side.
    head.bbox_pred.bias.copy_(torch.tensor([10.0, 0, 0, 0, 0, 10, 0, 0]))
    pyramid = [torch.randn(2, 16, 64 >> i, 64 >> i) for i in range(5)]
    boxes = torch.tensor([[10.0, 10, 30, 40], [10, 10, 30, 40], [60, 10, 76, 30]])
    classes, batch = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1])
    found = refine(head, pyramid, boxes, classes, batch, SIZES)
    torch.testing.assert_close(found, torch.tensor([[30.0, 10, 50, 40], [10, 40, 30, 70], [76, 10, 80, 30]]))
    head.bbox_pred.bias[0] = torch.nan
    found = refine(head, pyramid, boxes, classes, batch, SIZES)
    torch.testing.assert_close(found, torch.tensor([[10.0, 10, 30, 40], [10, 40, 30, 70], [60, 10, 76, 30]]))
    assert refine(head, pyramid, boxes[:0], classes[:0], batch[:0], SIZES).shape == (0, 4)
