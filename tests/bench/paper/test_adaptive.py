"""Adaptive against dense rendering."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.paper import adaptive
from bench.paper.adaptive import compare, curves
from bench.paper.report import adaptive_table
from model.pointrend.point_head import PointHead
from model.pointrend.render import FineMap, InstanceRender
from model.predict.instance import InstanceOptions
from tests.bench.support import CONFIG, Scene


def renders(count: int = 2) -> tuple[list[InstanceRender], PointHead]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = PointHead(16, 2, CONFIG.mask).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(head.predictor.weight, std=1.0)
    features = torch.randn(1, 16, 16, 16, generator=generator)
    coarse = torch.randn(count, 2, 7, 7, generator=generator) * 2
    own = torch.zeros(count, dtype=torch.int64)
    cells = head.project_coarse(coarse, own).detach()
    fine = FineMap(head.project_fine(features)[0].flatten(0, 1).detach(), 16, 16, 4)
    return [InstanceRender(fine, c, torch.tensor([4.0, 4, 60, 60]), 0, 28) for c in cells], head


def test_every_point_gives_the_dense_mask() -> None:
    given, head = renders()
    few, more, every = compare(given, head, 56, (49, 784, 56**2))
    assert every == [(1.0, 0.0)] * 2
    assert all(0 < iou <= 1 and 0 <= differing < 1 for iou, differing in (*few, *more))
    assert sum(d for _, d in few) > sum(d for _, d in more)
    assert all(render.logits is None for render in given), "the renders themselves are not touched"


def test_curves_of_a_data_set(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "SIDES", (28, 56))
    found = curves(scene.detector.predictor, scene.dataset, InstanceOptions(score=0.0), limit=2)
    assert found["instances"] == 8 and set(found["sides"]) == {"28", "56"}
    entries = {entry["points"]: entry for entry in found["sides"]["28"]}
    assert tuple(entries) == adaptive.POINTS
    # From 784 on, and with auto, 28 is the first level: all of its cells are evaluated.
    for points in (784, 1568, 3136, None):
        assert (entries[points]["mean_iou"], entries[points]["share"]) == (1.0, 1.0)
    assert entries[49]["share"] == 3 * 49 / 28**2  # levels 7, 14, 28
    text = adaptive_table(found)
    assert "| 28 | auto | 100.0% | 1.0000 | 1.0000 | 0.000% |" in text


def test_nothing_to_compare_is_an_error(scene: Scene) -> None:
    with pytest.raises(ValueError, match="no instance is found above score 2"):
        curves(scene.detector.predictor, scene.dataset, InstanceOptions(score=2.0), limit=1)
    baseline = dataclasses.replace(scene.detector.predictor, head=None)
    with pytest.raises(ValueError, match="4×conv"):
        curves(baseline, scene.dataset, InstanceOptions())
