"""Recipes: the published values, the baselines' twins, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from model.config.instance import PointRendConfig
from model.config.presets import PRESETS
from model.errors import UserError
from model.training.recipe import InstanceRecipe, Sampling, SemanticRecipe
from model.training.recipes import INSTANCE_RECIPES, RECIPES, SEMANTIC_RECIPES, STREET

CITYSCAPES = ("pointrend_rcnn_r50_fpn_cityscapes", "mask_rcnn_r50_fpn_cityscapes")


def test_every_preset_has_a_recipe_of_its_task() -> None:
    tasks = {"instance": INSTANCE_RECIPES, "semantic": SEMANTIC_RECIPES}
    assert set(RECIPES) == set(PRESETS)
    assert all(preset in tasks[config.task] for preset, config in PRESETS.items())


def test_street_presets_share_their_recipe() -> None:
    assert {name for name, plan in RECIPES.items() if plan is STREET} == {
        name for name in PRESETS if name.startswith("street_")
    }
    assert SEMANTIC_RECIPES["semantic_fpn_r101_cityscapes"].points == 2048


def test_the_published_recipe() -> None:
    plan = INSTANCE_RECIPES["pointrend_rcnn_x101_fpn"]
    assert (plan.steps, plan.batch_size, plan.optimizer, plan.lr) == (90_000, 16, "sgd", 0.02)
    assert [share * plan.steps for share in plan.milestones] == [60_000, 80_000]
    assert plan.augmentation.short_edges == (640, 672, 704, 736, 768, 800)


@pytest.mark.parametrize("preset", CITYSCAPES)
def test_the_published_recipe_for_cityscapes(preset: str) -> None:
    plan = INSTANCE_RECIPES[preset]
    assert (plan.steps, plan.batch_size, plan.lr) == (24_000, 8, 0.01)
    assert [share * plan.steps for share in plan.milestones] == [18_000]
    assert plan.augmentation.short_edges == (800, 832, 864, 896, 928, 960, 992, 1024)
    assert plan.augmentation.long_edge == 2048


def test_only_pointrend_trains_masks_in_predicted_boxes() -> None:
    for preset, plan in INSTANCE_RECIPES.items():
        config = PRESETS[preset]
        assert config.task == "instance"
        assert plan.sampling.predicted_boxes == isinstance(config.mask, PointRendConfig)


def test_twins_differ_in_nothing_else() -> None:
    for preset in INSTANCE_RECIPES:
        if not preset.startswith("mask_rcnn") and preset != "anything":
            plan = INSTANCE_RECIPES[preset]
            twin = preset.replace("pointrend_rcnn", "mask_rcnn") if preset != "people" else "mask_rcnn_people"
            sampling = dataclasses.replace(plan.sampling, predicted_boxes=False, dice_weight=0.0)
            assert INSTANCE_RECIPES[twin] == dataclasses.replace(plan, sampling=sampling)


def test_only_the_small_presets_learn_from_empty_images() -> None:
    assert {preset for preset in INSTANCE_RECIPES if INSTANCE_RECIPES[preset].empty_images} == {
        "people",
        "mask_rcnn_people",
        "anything",
    }


def test_only_anything_trains_masks_in_true_boxes() -> None:
    assert {name for name, plan in INSTANCE_RECIPES.items() if plan.trains == "masks"} == {"anything"}


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
        ({"optimizer": "adam"}, "optimizer must be sgd or adamw, got 'adam'"),
        ({"schedule": "linear"}, "schedule must be cosine or step, got 'linear'"),
        ({"trains": "trunk"}, "trains must be all or masks or mask_head or detector, got 'trunk'"),
    ],
)
def test_impossible_recipes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InstanceRecipe(**change)


@pytest.mark.parametrize("kind", [Sampling, SemanticRecipe])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 0}, "points must be at least 1, got 0"),
        ({"oversample": 0.5}, "oversample must be at least 1, got 0.5"),
        ({"importance": 1.5}, "importance must lie between 0 and 1, got 1.5"),
    ],
)
def test_impossible_choices_of_points_are_refused(kind: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**change)


@pytest.mark.parametrize("name", ["jitter", "dice_weight"])
def test_a_negative_setting_of_sampling_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 0, got -1"):
        dataclasses.replace(Sampling(), **{name: -1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": 0}, "anchors must be at least 1"),
        ({"anchor_iou": (0.3,)}, "anchor_iou must be two rising numbers"),
        ({"anchor_iou": (0.7, 0.3)}, "anchor_iou must be two rising numbers"),
        ({"roi_positives": 1.5}, "roi_positives must lie between 0 and 1"),
    ],
)
def test_impossible_choices_of_regions_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**change)
