"""How a network is trained: everything that matters only while training, frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from model.data.augment import Augmentation
from model.data.label_augment import LabelAugmentation
from model.errors import UserError

# Which part of a Mask R-CNN trains; the rest keeps its weights. "masks": the mask head and everything that it reads
# (trunk, lateral convolutions, its pyramid levels), in the annotated boxes. "mask_head": the mask head alone, in
# detected boxes. "detector": the RPN, the box head, and the pyramid levels that the mask head does not read.
Trained = Literal["all", "masks", "mask_head", "detector"]


@dataclass(frozen=True)
class Sampling:
    """What a loss sees: anchors, proposals and points, and how it compares masks (reference defaults)."""

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
    # Samples of the true mask along a side of a coarse cell; 0: one for each pixel, which is slow in large boxes.
    coarse_samples: int = 0
    predicted_boxes: bool = True  # masks train inside the boxes that the box head predicts
    dice_weight: float = 0.0  # of a Dice loss beside each cross-entropy of PointRend's masks; 0: none
    jitter: float = 0.1  # masks that train in true boxes: half of these are moved by up to this share

    def __post_init__(self) -> None:
        _check_points(self.points, self.oversample, self.importance)
        _check_least("coarse_samples", self.coarse_samples, 0)
        _check_least("dice_weight", self.dice_weight, 0)
        _check_least("jitter", self.jitter, 0)
        for name in ("anchors", "pre_nms", "post_nms", "rois"):
            _check_least(name, getattr(self, name), 1)
        if len(self.anchor_iou) != 2 or not 0 <= self.anchor_iou[0] <= self.anchor_iou[1] <= 1:
            raise UserError(f"anchor_iou must be two rising numbers between 0 and 1, got {self.anchor_iou}")
        for name in ("anchor_positives", "roi_positives", "roi_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Schedule:
    """Optimiser and schedule of a training run, whatever the task."""

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
    ema: float = 0.0  # decay a step of the averaged weights that are exported; 0: the last ones are
    freeze_norms: bool = False  # BatchNorm outside the trunk keeps its statistics (the trunk's always does)
    freeze_depthwise: bool = False  # depthwise filters of the trunk stay: on a CPU their gradients take long
    # The trunk, the pyramid and the RPN (or the semantic base model) run in bf16; box, mask and point heads in fp32.
    bf16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 1, "warmup_steps": 0, "seed": 0}
        least |= {"backbone_lr": 0, "weight_decay": 0, "warmup_factor": 0, "clip_norm": 0}
        for name, bound in least.items():
            _check_least(name, getattr(self, name), bound)
        for name, allowed in {"optimizer": ("sgd", "adamw"), "schedule": ("cosine", "step")}.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} must be {' or '.join(allowed)}, got {getattr(self, name)!r}")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema must be at least 0 and below 1, got {self.ema}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be a positive number, got {self.lr}")


@dataclass(frozen=True)
class InstanceRecipe(Schedule):
    """How a Mask R-CNN is trained: schedule, augmentation and sampling."""

    box_only_every: int = 2  # every n-th batch has boxes only, or fewer do (see model/data/samplers.py)
    trains: Trained = "all"
    mask_weight: float = 1.0  # of the mask losses, against those of the detector
    empty_images: bool = False  # images without any instance train as background
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(short_edges=(640, 672, 704, 736, 768, 800))
    )
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_least("box_only_every", self.box_only_every, 0)
        _check_least("mask_weight", self.mask_weight, 0)
        if self.trains not in get_args(Trained):
            raise UserError(f"trains must be {' or '.join(get_args(Trained))}, got {self.trains!r}")


@dataclass(frozen=True)
class SemanticRecipe(Schedule):
    """How a semantic segmentation network is trained: schedule, augmentation and training points."""

    augmentation: LabelAugmentation = field(default_factory=LabelAugmentation)
    points: int = 2048  # per image: the cells of the crop at stride 16
    oversample: float = 3.0
    importance: float = 0.75
    point_only: bool = False  # the base model stays as it is: steps for the point head alone are cheap

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_points(self.points, self.oversample, self.importance)


Recipe = InstanceRecipe | SemanticRecipe


def _check_least(name: str, value: float, bound: float) -> None:
    if not value >= bound:
        raise UserError(f"{name} must be at least {bound}, got {value}")


def _check_points(points: int, oversample: float, importance: float) -> None:
    """Check how training points are chosen (paper, section 3.2: N, k and β)."""
    _check_least("points", points, 1)
    _check_least("oversample", oversample, 1)
    if not 0 <= importance <= 1:
        raise UserError(f"importance must lie between 0 and 1, got {importance}")
