"""Adaptive against dense rendering, of masks and of label maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.paper.adaptive import AUTO, DENSE, agreement_table, compare, curves
from bench.paper.adaptive_tasks import LabelMapCurve, MaskCurve
from bench.paper.heads.variants import BIASED
from model.data.coco import read_image
from model.networks.eager import predictor_of
from model.predict.predictor import Pixels
from tests.bench import support
from tests.bench.support import Scene
from tests.model import label_files, tiny, tiny_semantic


def photos(scene: Scene, limit: int | None = None) -> Iterator[tuple[Pixels, None]]:
    for record in scene.dataset.records[:limit]:
        yield read_image(record), None


def test_every_point_gives_the_dense_mask(scene: Scene) -> None:
    network = tiny.network(support.CONFIG)
    network.mask_head = support.heads()[BIASED]  # its masks have contours
    predictor = predictor_of(network, support.CATEGORIES)
    task = MaskCurve(score=0.0, sides=(56,), points=(49, 784, 56**2, DENSE))
    tallies: dict[Any, Any] = compare(predictor, photos(scene, 1), task)
    few, more, every, dense = (tallies[56, points] for points in task.points)
    assert every.compared == dense.compared == 4
    assert set(every.overlaps) == set(dense.overlaps) == {1.0}
    assert every.evaluated == every.cells == dense.evaluated
    assert all(0 < iou <= 1 for iou in (*few.overlaps, *more.overlaps))
    assert sum(few.differing) > sum(more.differing) >= sum(every.differing) == 0


def test_curves_of_masks(scene: Scene) -> None:
    task = MaskCurve(score=0.0, sides=(28, 56))
    found = curves(scene.detector.predictor, photos(scene, 2), task)
    assert found["instances"] == 8 and set(found["sides"]) == {"28", "56"}
    entries = {entry["points"]: entry for entry in found["sides"]["28"]}
    assert tuple(entries) == task.points
    # From 784 on, and with auto, 28 is the first level: all of its cells are evaluated.
    for points in (784, 1568, 3136, AUTO):
        assert (entries[points]["mean_iou"], entries[points]["share"]) == (1.0, 1.0)
    assert entries[49]["share"] == 3 * 49 / 28**2  # levels 7, 14, 28
    text = agreement_table(found, task)
    assert "| side | points a level | share of points | mean IoU |" in text
    assert "| 28 | auto | 100.0% | 1.0000 | 1.0000 | 0.000% |" in text


def test_nothing_to_compare_is_an_error(scene: Scene) -> None:
    with pytest.raises(ValueError, match="no instance is found"):
        curves(scene.detector.predictor, photos(scene, 1), MaskCurve(score=2.0))
    baseline = dataclasses.replace(scene.detector.predictor, head=None)
    with pytest.raises(ValueError, match="no point head"):
        curves(baseline, photos(scene), MaskCurve())


def test_curves_of_label_maps(tmp_path: Path) -> None:
    data = label_files.load(tmp_path)
    predictor = predictor_of(tiny_semantic.network(), data.labelling.classes, data.labelling.palette)
    task = LabelMapCurve(len(data.labelling.classes), points=(10, 10**6, AUTO, DENSE))
    examples = [data.read(index) for index in range(0, len(data.pairs), 2)]
    found = curves(predictor, examples, task)
    assert found["images"] == len(examples) == -(-len(data.pairs) // 2) and list(found["sides"]) == ["1", "2"]
    for entries in found["sides"].values():
        few, every, auto, dense = entries
        assert [entry["points"] for entry in entries] == [10, 10**6, "auto", "dense"]
        assert few["share"] < auto["share"] and every["share"] >= dense["share"] == 1
        assert few["equal"] < every["equal"] == dense["equal"] == 1
        assert every["miou"] == dense["miou"] and every["boundary_miou"] == dense["boundary_miou"]
    text = agreement_table(found, task)
    assert text.count("\n") == 9 and "| 2× | dense | 100.0% | 100.00% |" in text
    with pytest.raises(ValueError, match="no point head"):
        curves(dataclasses.replace(predictor, head=None), examples, task)


def test_the_truth_is_enlarged_with_the_map() -> None:
    tally: Any = LabelMapCurve(2).tally()
    truth = np.array([[0, 1], [1, 255]], np.uint8)
    tally.add(truth.repeat(2, 0).repeat(2, 1) % 2, np.zeros((4, 4), np.uint8), truth, 3)
    assert tally.result()["miou"] == 1 and tally.result()["equal"] == 4 / 12
    assert tally.result()["share"] == 3 / 16
