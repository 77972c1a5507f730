"""How a network is trained: everything that matters only while training, frozen."""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass, field
from typing import Any, Literal

from model.augment import Augmentation


@dataclass(frozen=True)
class Sampling:
    """Which anchors, proposals and points a loss sees (reference defaults)."""

    anchors: int = 256  # per image
    anchor_positives: float = 0.5
    anchor_iou: tuple[float, float] = (0.3, 0.7)
    pre_nms: int = 2000  # per level
    post_nms: int = 1000  # per image
    rois: int = 512  # per image
    roi_positives: float = 0.25
    roi_iou: float = 0.5
    points: int = 196  # per box
    oversample: float = 3.0
    importance: float = 0.75
    predicted_boxes: bool = True  # masks train inside the boxes that the box head predicts


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule, data and sampling of one training run."""

    steps: int = 90_000
    batch_size: int = 16  # over all processes
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.02
    backbone_lr: float = 1.0  # factor for the trunk
    weight_decay: float = 1e-4  # not on norms and biases of norms
    warmup_steps: int = 1000
    warmup_factor: float = 0.001
    schedule: Literal["cosine", "step"] = "step"
    milestones: tuple[float, ...] = (2 / 3, 8 / 9)  # shares of `steps` at which the rate falls to a tenth
    clip_norm: float = 0.0  # 0: no clipping
    bf16: bool = False  # backbone and pyramid under autocast; heads stay float32
    box_only_every: int = 2  # every n-th batch comes from images whose annotations have boxes only
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(short_edges=(640, 672, 704, 736, 768, 800))
    )
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0


PUBLISHED = Recipe()
PEOPLE = Recipe(
    steps=3000,
    batch_size=4,
    optimizer="adamw",
    lr=4e-4,
    backbone_lr=0.5,
    weight_decay=0.05,
    warmup_steps=300,
    schedule="cosine",
    clip_norm=5.0,
    bf16=False,
    augmentation=Augmentation(
        short_edges=(224, 256, 288, 320), long_edge=416, crop=0.4, crop_least=0.5, colour=0.3
    ),
    sampling=Sampling(anchors=128, pre_nms=500, post_nms=250, rois=64, roi_positives=0.33),
)
_RECIPES = {"people": PEOPLE, "mask_rcnn_people": PEOPLE}
RECIPES: types.MappingProxyType[str, Recipe] = types.MappingProxyType(_RECIPES)


def recipe(preset: str) -> Recipe:
    """The recipe that goes with a model preset; the published one unless it has its own."""
    return RECIPES.get(preset, PUBLISHED)


def to_dict(value: Recipe) -> dict[str, Any]:
    """JSON-ready, for the log."""
    return dataclasses.asdict(value)
