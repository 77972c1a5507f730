"""Explanations of masks: coarse masks that are the network's own, and the points that changed each level."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.config.instance import PointRendConfig
from model.networks.build import build_network
from model.networks.mask_heads import own_class
from model.pointrend.levels import auto_points
from model.pointrend.point_head import PointHead
from model.pointrend.render import advance
from model.predict.instance import InstanceOptions, InstancePrediction, Mask
from tests.model.predict.test_instance import image, predictor
from tests.parity.goldens import load_checkpoint

FEW = InstanceOptions(resolution=112, score=0.0, max_instances=6, explain=True)


def begun(options: InstanceOptions, name: str = "tiny_r50") -> InstancePrediction:
    made = predictor(name)
    one = made.prepare(image(), options)
    return made.begin(made.coarse([one]), 0, one, options)


def masks(
    options: InstanceOptions, name: str = "tiny_r50", group_points: int | None = None
) -> tuple[Mask, ...]:
    prediction, head = begun(options, name), predictor(name).head
    while left := [render for render in prediction.renders if not render.done]:
        assert head is not None
        advance(left, head, *([] if group_points is None else [group_points]))
    return prediction.finish().masks


@pytest.mark.parametrize(
    "changes", [{}, {"context": 3}, {"coarse_each_layer": False}, {"class_agnostic": True}]
)
def test_coarse_predictions_are_recovered_from_their_projection(changes: dict[str, Any]) -> None:
    torch.manual_seed(1)
    config = dataclasses.replace(PointRendConfig(), point_dim=64, **changes)
    head, classes = PointHead(16, 5, config), torch.tensor([4, 0, 2])
    coarse = 5 * torch.randn(3, 5 + config.context, 7, 7)
    with torch.inference_mode():
        found = head.unproject_coarse(head.project_coarse(coarse, classes), classes)
    torch.testing.assert_close(found, coarse[torch.arange(3), classes].flatten(1), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny_r50", "tiny_x101", "tiny_conv"])
def test_the_coarse_mask_is_the_networks_own(name: str) -> None:
    checkpoint = load_checkpoint(name)
    made, network = predictor(name), build_network(checkpoint.config, checkpoint.tensors)
    one = made.prepare(image(), FEW)
    inputs = made.inputs([one])
    with torch.inference_mode():
        steps_of = made.coarse([one])
        pyramid = network.backbone(inputs["image"])
        logits = own_class(network.mask_head(pyramid, steps_of.boxes, steps_of.batch), steps_of.classes)
    found = made.begin(steps_of, 0, one, FEW).regions
    assert len(found) == FEW.max_instances
    for region in found:
        assert region.coarse is not None
        expected = logits[region.render.source.row].sigmoid()
        np.testing.assert_allclose(region.coarse, expected, atol=1e-3)


def test_a_level_differs_from_the_one_before_at_the_listed_points_alone() -> None:
    sides = (28, 56, 112)
    by_side = [masks(dataclasses.replace(FEW, resolution=side)) for side in sides]
    for at in range(FEW.max_instances):
        explained = by_side[-1][at].explanation
        assert explained is not None
        assert [level.side for level in explained.levels] == list(sides)
        assert explained.levels[0].cells is None and explained.levels[0].points == 784
        for before, after, level in zip(by_side, by_side[1:], explained.levels[1:], strict=False):
            assert level.cells is not None and level.points == auto_points(level.side)
            assert (np.diff(level.cells.astype(int)) > 0).all()  # in order, each once
            enlarged = F.interpolate(before[at].logits[None, None], scale_factor=2, mode="bilinear")[0, 0]
            changed = ((after[at].logits - enlarged).abs() > 1e-4).flatten().nonzero()[:, 0].numpy()
            assert len(changed) > level.points / 2 and np.isin(changed, level.cells).all()


def cells(found: Mask) -> Iterator[list[int] | None]:
    assert found.explanation is not None
    for level in found.explanation.levels:
        yield None if level.cells is None else level.cells.tolist()


def test_levels_that_take_several_steps_list_the_same_points() -> None:
    one = dataclasses.replace(FEW, max_instances=1)
    (whole,), (parts,) = masks(one), masks(one, group_points=100)
    assert list(cells(whole)) == list(cells(parts))


def test_points_of_a_level_that_is_given_up_are_not_listed() -> None:
    (render,), head = begun(dataclasses.replace(FEW, max_instances=1)).renders, predictor().head
    assert head is not None
    advance([render], head)
    advance([render], head, group_points=100)
    assert render.evaluated is not None and len(render.evaluated.parts) == 1
    render.limit(28)
    assert [level.side for level in render.evaluated.levels] == [28] and not render.evaluated.parts


def test_a_snapshot_stays_as_it_is() -> None:
    prediction, head = begun(FEW), predictor().head
    assert head is not None
    advance(prediction.renders, head)
    early, before = prediction.snapshot(), prediction.finish()
    advance(prediction.renders, head)
    for was, then, now in zip(early.finish().masks, before.masks, prediction.finish().masks, strict=True):
        assert (was.side, now.side) == (28, 56)
        torch.testing.assert_close(was.logits, then.logits, atol=0, rtol=0)
        assert list(cells(was)) == [None] and len(list(cells(now))) == 2


def test_explaining_changes_no_mask_and_counts_its_memory() -> None:
    silent = dataclasses.replace(FEW, explain=False)
    for plain, explained in zip(masks(silent), masks(FEW), strict=True):
        assert plain.explanation is None and explained.explanation is not None
        torch.testing.assert_close(plain.logits, explained.logits, atol=0, rtol=0)
        assert explained.nbytes == plain.nbytes + explained.explanation.nbytes
    (plain_render, *_), (render, *_) = begun(silent).renders, begun(FEW).renders
    assert render.memory == plain_render.memory + 4 * 3 * 784
