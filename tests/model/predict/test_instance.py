"""From an image to regions and results: what a request chooses, and coordinates there and back."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from export.trials import picture
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.evaluation.coco_results import coco_result
from model.pointrend.levels import SIDES
from model.pointrend.point_head import PointHead
from model.predict.instance import (
    InstanceOptions,
    InstancePredictor,
    Region,
    parse_resolution,
)
from model.predict.predictor import Prepared, Prompt, parse_points
from tests.parity.goldens import load_checkpoint

ALL = InstanceOptions(resolution=28, score=0.0, max_instances=1000)


@cache
def predictor(name: str = "tiny_r50") -> InstancePredictor:
    made = eager_predictor(load_checkpoint(name))
    pixels = dataclasses.replace(made.preprocessing, short_edge=96, long_edge=192)
    return dataclasses.replace(made, preprocessing=pixels)


@cache
def image() -> NDArray[np.uint8]:
    return picture(120, 160, 3)


def with_boxes(*prompts: Prompt) -> InstanceOptions:
    return dataclasses.replace(ALL, prompts=prompts)


def facts(regions: list[Region]) -> list[tuple[int, float]]:
    return [(r.category, r.score) for r in regions]


@cache
def everything() -> tuple[Region, ...]:
    return tuple(predictor()(image(), ALL).regions)


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_go_to_the_network_and_back(
    size: tuple[int, int], resized: tuple[int, int], shares: list[float]
) -> None:
    width, height = size
    prepared = Prepared(torch.zeros(3, *resized, dtype=torch.uint8), width, height)
    boxes = torch.tensor([shares]) * torch.tensor([width, height, width, height])
    there = prepared.to_network(boxes)
    limits = torch.tensor([resized[1], resized[0]] * 2)
    torch.testing.assert_close(there, torch.tensor([shares]) * limits, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(prepared.to_image(there), boxes, atol=1e-2, rtol=1e-4)


def test_boxes_beyond_the_image_are_clipped_in_both_directions() -> None:
    prepared = Prepared(torch.zeros(3, 50, 100, dtype=torch.uint8), 200, 150)
    outside = torch.tensor([[-5.0, 20, 300, 400], [250, -9, 260, -1]])
    assert prepared.to_network(outside)[0].tolist() == pytest.approx([0, 20 / 3, 100, 50])
    assert prepared.to_network(outside)[1].tolist() == [100, 0, 100, 0]
    found = prepared.to_image(torch.tensor([[-1.0, -1, 101, 51]]))
    assert found.tolist() == [pytest.approx([0, 0, 200, 150])]


def test_regions_come_best_first_within_the_image() -> None:
    regions = everything()
    assert len(regions) > 5
    scores = [r.score for r in regions]
    assert scores == sorted(scores, reverse=True)
    for r in regions:
        assert (r.box >= 0).all() and r.box[2] <= 160 and r.box[3] <= 120
        assert r.render.done and r.render.target == 28


def test_regions_come_best_first_whatever_the_order_of_the_coarse_pass() -> None:
    """Masks change the scores after the detector has sorted them."""
    prepared = predictor().prepare(image(), ALL)
    coarse = predictor().coarse([prepared])
    risen = coarse._replace(scores=coarse.scores.flip(0))
    found = predictor().begin(risen, 0, prepared, dataclasses.replace(ALL, max_instances=3)).regions
    best = coarse.scores[:3].tolist()
    assert [r.score for r in found] == pytest.approx(best) and best[0] > best[2]
    boxes = prepared.to_image(coarse.boxes.flip(0)[:3])
    assert np.array_equal(np.stack([r.box for r in found]), boxes.numpy())


def test_the_least_score_counts() -> None:
    score = everything()[3].score
    found = predictor()(image(), dataclasses.replace(ALL, score=score)).regions
    assert facts(found) == [f for f in facts(list(everything())) if f[1] >= score]
    assert 4 <= len(found) < len(everything())


def test_classes_are_chosen_before_the_number_is_cut() -> None:
    categories = [r.category for r in everything()]
    rare = min(set(categories), key=categories.count)
    wanted = [f for f in facts(list(everything())) if f[0] == rare]
    options = dataclasses.replace(ALL, classes=frozenset({rare}), max_instances=1)
    found = predictor()(image(), options).regions
    assert facts(found) == wanted[:1]
    assert not predictor()(image(), dataclasses.replace(ALL, classes=frozenset())).regions


def test_no_more_than_the_most_instances() -> None:
    found = predictor()(image(), dataclasses.replace(ALL, max_instances=2)).regions
    assert facts(found) == facts(list(everything()))[:2]


@pytest.mark.parametrize("name", ["tiny_r50", "tiny_conv"])
def test_given_boxes_are_segmented_and_nothing_else(name: str) -> None:
    """The other options do not touch them; boxes come back clipped."""
    prompts = (Prompt((-20.0, 10.0, 90.0, 100.0), 4), Prompt((50.0, 5.0, 60.0, 15.0)))
    options = InstanceOptions(
        resolution=28, score=1.0, max_instances=1, classes=frozenset({0}), prompts=prompts
    )
    first, second = predictor(name)(image(), options).regions
    assert first.category == 4
    np.testing.assert_allclose(first.box, [0, 10, 90, 100], atol=1e-3)
    np.testing.assert_allclose(second.box, [50, 5, 60, 15], atol=1e-3)
    assert first.render.probability().shape == (28, 28)


def test_no_given_boxes_are_no_regions() -> None:
    assert predictor()(image(), InstanceOptions(prompts=())).regions == []


def test_prompts_of_a_batch_stay_with_their_images() -> None:
    made = predictor()
    boxes = [(10.0, 10.0, 90.0, 100.0), (50.0, 5.0, 120.0, 60.0), (20.0, 30.0, 70.0, 80.0)]
    batch = [
        made.prepare(image(), with_boxes(Prompt(boxes[0], 1), Prompt(boxes[1], 2))),
        made.prepare(picture(120, 160, 4), ALL),
        made.prepare(picture(120, 160, 5), with_boxes(Prompt(boxes[2], 3))),
    ]
    coarse = made.coarse(batch)
    regions = [made.begin(coarse, i, prepared, ALL).regions for i, prepared in enumerate(batch)]
    assert [[r.category for r in found] for found in (regions[0], regions[2])] == [[1, 2], [3]]
    for found, box in zip((*regions[0], *regions[2]), boxes, strict=True):
        np.testing.assert_allclose(found.box, box, atol=1e-3)
    alone = made(picture(120, 160, 4), ALL).regions
    assert [r.category for r in regions[1]] == [r.category for r in alone]
    assert [r.score for r in regions[1]] == pytest.approx([r.score for r in alone], abs=1e-4)


def test_an_empty_image_has_no_regions() -> None:
    made = predictor()
    blank = np.zeros((120, 160, 3), np.uint8)
    assert made(blank, dataclasses.replace(ALL, score=1.0)).regions == []
    prepared = made.prepare(blank, ALL)
    nothing = made.coarse([prepared])
    nothing = nothing._replace(**{f: getattr(nothing, f)[:0] for f in nothing._fields[:5]})
    assert made.begin(nothing, 0, prepared, ALL).regions == []


def test_native_follows_the_box_in_image_pixels() -> None:
    boxes = ((0.0, 0.0, 20.0, 20.0), (0.0, 0.0, 20.0, 29.0), (0.0, 0.0, 160.0, 100.0))
    options = InstanceOptions(prompts=tuple(Prompt(box) for box in boxes))
    prepared = predictor().prepare(image(), options)
    regions = predictor().begin(predictor().coarse([prepared]), 0, prepared, options).regions
    assert [r.render.target for r in regions] == [28, 56, 224]


def test_the_conv_heads_masks_need_no_rendering() -> None:
    made = predictor("tiny_conv")
    assert made.head is None
    regions = made(image(), dataclasses.replace(ALL, resolution=448)).regions
    assert regions and all(r.render.probability().shape == (28, 28) for r in regions)
    assert isinstance(predictor().head, PointHead)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_results_are_what_pycocotools_loads() -> None:
    categories = predictor().categories
    results: list[dict[str, Any]] = [
        coco_result(r.finish(), categories[r.category], 17, 160, 120) for r in everything()
    ]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 17, "width": 160, "height": 120}],
        "categories": [{"id": c.id, "name": c.name} for c in categories],
        "annotations": [
            {**r, "id": i + 1, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3]}
            for i, r in enumerate(results)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(results)
        evaluation = COCOeval(truth, loaded, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert len(loaded.anns) == len(results)
    for r, annotation in zip(everything(), loaded.anns.values(), strict=True):
        found = r.finish().crop(160, 120)
        expected = np.zeros((120, 160), np.uint8)
        h, w = found.bitmap.shape
        expected[found.top : found.top + h, found.left : found.left + w] = found.bitmap
        assert np.array_equal(loaded.annToMask(annotation), expected)
    assert evaluation.stats[0] == pytest.approx(1.0)  # the results are the truth


def test_a_results_fields() -> None:
    region = everything()[0]
    result = coco_result(region.finish(), Category(90, "toothbrush"), 5, 160, 120)
    x0, y0, x1, y1 = region.box.tolist()
    assert (result["image_id"], result["category_id"], result["score"]) == (5, 90, region.score)
    assert result["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert result["segmentation"]["size"] == [120, 160] and isinstance(result["segmentation"]["counts"], str)


def test_settings_are_read_from_text() -> None:
    assert [parse_resolution(t) for t in ("native", "28", "896")] == ["native", 28, 896]
    assert [parse_points(t) for t in ("auto", "1", str(SIDES[-1] ** 2))] == [None, 1, SIDES[-1] ** 2]


@pytest.mark.parametrize("text", ["", "27", "1792", "-28", "28.0", "auto", "Native"])
def test_impossible_resolutions_name_the_possible_ones(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"native or one of 28, 56, 112, 224, 448, 896, got .*label maps.* up to 8192"
    ):
        parse_resolution(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "7.5", "native", str(896**2 + 1)])
def test_impossible_points_name_the_possible_ones(text: str) -> None:
    with pytest.raises(ValueError, match="auto or a number from 1 to 802816, got"):
        parse_points(text)


def test_a_result_owns_its_memory() -> None:
    """A mask that waits for its answer must not keep the logits of its whole group, let alone the fine map."""
    prediction = predictor()(image(), ALL)
    for mask in prediction.finish().masks:
        assert mask.logits.untyped_storage().nbytes() == 4 * mask.side**2
    assert [m.score for m in prediction.finish().parts] == [r.score for r in prediction.regions]


def test_a_mask_without_a_finished_level_cannot_be_finished() -> None:
    prepared = predictor().prepare(image(), ALL)
    begun = predictor().begin(predictor().coarse([prepared]), 0, prepared, ALL)
    with pytest.raises(ValueError, match="nothing is rendered yet"):
        begun.finish()
