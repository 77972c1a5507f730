"""How a semantic segmentation network is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.data.label_augment import LabelAugmentation
from model.training.recipe import Schedule


@dataclass(frozen=True)
class SemanticRecipe(Schedule):
    """A run with its data and the point head's training points."""

    augmentation: LabelAugmentation = field(default_factory=LabelAugmentation)
    points: int = 2048  # per image: the cells of the crop at stride 16
    oversample: float = 3.0
    importance: float = 0.75
    point_only: bool = (
        False  # the base model stays as it is: cheap steps for a point head over a finished one
    )


PUBLISHED = SemanticRecipe(steps=65_000, batch_size=32, lr=0.01, milestones=(8 / 13, 11 / 13))
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


def semantic_recipe(preset: str) -> SemanticRecipe:
    """The recipe that goes with a model preset."""
    return STREET if preset.startswith("street_") else PUBLISHED
