"""Recipes: the published values, the baselines' twins, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from model.config.instance import PointRendConfig
from model.config.presets import PRESETS
from model.training.recipe import InstanceRecipe, recipe

CITYSCAPES = ("pointrend_rcnn_r50_fpn_cityscapes", "mask_rcnn_r50_fpn_cityscapes")


def test_the_published_recipe() -> None:
    plan = recipe("pointrend_rcnn_x101_fpn")
    assert (plan.steps, plan.batch_size, plan.optimizer, plan.lr) == (90_000, 16, "sgd", 0.02)
    assert [share * plan.steps for share in plan.milestones] == [60_000, 80_000]
    assert plan.augmentation.short_edges == (640, 672, 704, 736, 768, 800)


@pytest.mark.parametrize("preset", CITYSCAPES)
def test_the_published_recipe_for_cityscapes(preset: str) -> None:
    plan = recipe(preset)
    assert (plan.steps, plan.batch_size, plan.lr) == (24_000, 8, 0.01)
    assert [share * plan.steps for share in plan.milestones] == [18_000]
    assert plan.augmentation.short_edges == (800, 832, 864, 896, 928, 960, 992, 1024)
    assert plan.augmentation.long_edge == 2048


def test_only_pointrend_trains_masks_in_predicted_boxes() -> None:
    for preset, config in PRESETS.items():
        assert recipe(preset).sampling.predicted_boxes == isinstance(config.mask, PointRendConfig)


def test_twins_differ_in_nothing_else() -> None:
    for preset in PRESETS:
        if not preset.startswith("mask_rcnn"):
            plan = recipe(preset)
            twin = preset.replace("pointrend_rcnn", "mask_rcnn") if preset != "people" else "mask_rcnn_people"
            sampling = dataclasses.replace(plan.sampling, predicted_boxes=False)
            assert recipe(twin) == dataclasses.replace(plan, sampling=sampling)


def test_only_people_learns_from_empty_images() -> None:
    assert {preset for preset in PRESETS if recipe(preset).empty_images} == {"people", "mask_rcnn_people"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
        ({"lr": -1.0}, "lr must be a positive number"),
        ({"lr": float("nan")}, "lr must be a positive number, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_impossible_recipes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InstanceRecipe(**change)
