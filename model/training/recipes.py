"""The recipe of each model preset, of both tasks in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from model.data.augment import Augmentation
from model.data.label_augment import LabelAugmentation
from model.training.recipe import InstanceRecipe, Recipe, Sampling, SemanticRecipe

PUBLISHED = InstanceRecipe()
CITYSCAPES = InstanceRecipe(
    steps=24_000,
    batch_size=8,
    lr=0.01,
    milestones=(0.75,),
    augmentation=Augmentation(short_edges=tuple(range(800, 1025, 32)), long_edge=2048),
)
PEOPLE = InstanceRecipe(
    steps=7400,
    batch_size=4,
    optimizer="adamw",
    lr=4e-4,
    backbone_lr=0.5,
    weight_decay=0.05,
    warmup_steps=300,
    schedule="cosine",
    clip_norm=5.0,
    bf16=False,
    ema=0.998,
    box_only_every=3,
    empty_images=True,
    augmentation=Augmentation(
        short_edges=tuple(range(256, 513, 64)),
        long_edge=704,
        enlarge=1.5,
        crop=0.25,
        crop_least=0.4,
        colour=0.15,
        paste=0.25,
    ),
    sampling=Sampling(anchors=128, pre_nms=500, post_nms=250, rois=128, coarse_samples=4, dice_weight=0.5),
)
# Crops of small pictures show objects about as large as they are at prediction, for a quarter of the cost.
ANYTHING = replace(
    PEOPLE,
    trains="masks",
    steps=1000,
    batch_size=8,
    warmup_steps=60,
    freeze_norms=True,
    freeze_depthwise=True,
    bf16=True,
    augmentation=replace(
        PEOPLE.augmentation,
        short_edges=(224, 256, 288),
        long_edge=416,
        enlarge=2.0,
        crop=0.75,
        crop_least=0.3,
    ),
    sampling=replace(PEOPLE.sampling, rois=48),
)
SEMANTIC_PUBLISHED = SemanticRecipe(steps=65_000, batch_size=32, lr=0.01, milestones=(8 / 13, 11 / 13))
STREET = SemanticRecipe(
    steps=1400,
    batch_size=4,
    optimizer="adamw",
    lr=8e-4,
    backbone_lr=0.4,
    weight_decay=0.02,
    warmup_steps=60,
    schedule="cosine",
    clip_norm=5.0,
    ema=0.995,
    bf16=True,
    augmentation=LabelAugmentation((256, 320), (0.7, 1.5), colour=0.3),
    points=1024,
)


def _baseline(recipe: InstanceRecipe) -> InstanceRecipe:
    """Return the recipe of the twin with a 4×conv head: in the proposals, with the losses of Mask R-CNN."""
    return replace(recipe, sampling=replace(recipe.sampling, predicted_boxes=False, dice_weight=0.0))


INSTANCE_RECIPES: Mapping[str, InstanceRecipe] = MappingProxyType(
    {
        "pointrend_rcnn_r50_fpn": PUBLISHED,
        "pointrend_rcnn_r101_fpn": PUBLISHED,
        "pointrend_rcnn_x101_fpn": PUBLISHED,
        "pointrend_rcnn_r50_fpn_cityscapes": CITYSCAPES,
        "people": PEOPLE,
        "anything": ANYTHING,
        "mask_rcnn_r50_fpn": _baseline(PUBLISHED),
        "mask_rcnn_r101_fpn": _baseline(PUBLISHED),
        "mask_rcnn_x101_fpn": _baseline(PUBLISHED),
        "mask_rcnn_r50_fpn_cityscapes": _baseline(CITYSCAPES),
        "mask_rcnn_people": _baseline(PEOPLE),
    }
)
SEMANTIC_RECIPES: Mapping[str, SemanticRecipe] = MappingProxyType(
    {
        "semantic_fpn_r101_cityscapes": SEMANTIC_PUBLISHED,
        "street_fpn": STREET,
        "street_fpn_pointrend": STREET,
        "street_deeplab_os16": STREET,
        "street_deeplab_os8": STREET,
        "street_deeplab_os16_pointrend": STREET,
    }
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({**INSTANCE_RECIPES, **SEMANTIC_RECIPES})
