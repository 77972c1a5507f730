"""The point head: what inference computes from projected maps is what training computes from the maps themselves."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config.instance import PointRendConfig
from model.pointrend.point_head import PointHead

REGIONS, CHANNELS, CLASSES, POINTS = 4, 5, 2, 9
CONFIG = PointRendConfig(point_dim=8)


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("each_layer", [False, True])
def test_projections_give_the_same_logits(context: int, class_agnostic: bool, each_layer: bool) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(
        CONFIG, context=context, class_agnostic=class_agnostic, coarse_each_layer=each_layer
    )
    head = PointHead(CHANNELS, CLASSES, config).eval().requires_grad_(False)
    for parameter in head.parameters():
        parameter.normal_(std=0.4)
    fine = torch.randn(REGIONS, CHANNELS, 1, POINTS)
    coarse = torch.randn(REGIONS, CLASSES + context, 1, POINTS)  # a point for each of its cells
    classes = torch.tensor([0, 1, 1, 0])
    every = head(fine[:, :, 0].mT, coarse[:, :, 0].mT)
    expected = every.gather(2, (classes * (every.shape[2] > 1))[:, None, None].expand(-1, POINTS, 1))[..., 0]

    cells = head.project_coarse(coarse, classes)
    terms = cells.flatten(0, 1).split(head.dim, dim=1)
    hidden = head.hidden(head.project_fine(fine).flatten(0, 2), lambda layer: terms[layer] + head.bias(layer))
    found = head.own_logits(hidden.view(REGIONS, POINTS, -1), cells[..., -1], classes)
    torch.testing.assert_close(found, expected)
