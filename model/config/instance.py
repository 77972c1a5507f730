"""Configuration of instance segmentation: Mask R-CNN with a PointRend or a 4×conv mask head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from model.config.parts import FPNConfig, Preprocessing, TrunkConfig
from model.errors import UserError


@dataclass(frozen=True)
class RPNConfig:
    """Region proposals; one anchor size per level P2–P6, decoded and selected as in the reference."""

    type: Literal["RPN"] = field(default="RPN", kw_only=True, repr=False)
    anchor_sizes: tuple[float, ...] = (32, 64, 128, 256, 512)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height by width
    pre_nms: int = 1000  # per level
    post_nms: int = 1000  # per image
    nms_threshold: float = 0.7
    # Anchors are at every n-th cell of a level in each direction (the reference: at every cell). With 2, the level's
    # convolution costs a quarter.
    steps: tuple[int, ...] = (1, 1, 1, 1, 1)


@dataclass(frozen=True)
class BoxHeadConfig:
    """Box head of Faster R-CNN, and which of its boxes are kept."""

    type: Literal["BoxHead"] = field(default="BoxHead", kw_only=True, repr=False)
    fc_dim: int = 1024
    num_fc: int = 2
    pool: int = 7
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    samples: int = 0  # reads along a side of a RoIAlign bin; 0: about one for each cell, as in the reference
    # How often the detected boxes go through the head again, which moves them once more (iterative bounding box
    # regression; Cascade R-CNN, arXiv:1712.00726, section 3.2). The reference has none.
    refinements: int = 0


@dataclass(frozen=True)
class PointRendConfig:
    """Coarse 7×7 head and point head (paper section 4.2)."""

    type: Literal["PointRendMask"] = field(default="PointRendMask", kw_only=True, repr=False)
    conv_dim: int = 256
    fc_dim: int = 1024
    num_fc: int = 2
    pool: int = 14
    side: int = 7
    point_dim: int = 256
    num_point_fc: int = 3
    coarse_each_layer: bool = True
    class_agnostic: bool = False
    context: int = 0  # channels that the coarse head predicts beside the masks, for the point head alone


@dataclass(frozen=True)
class ConvHeadConfig:
    """The 4×conv baseline head: 28×28 logits from a 14×14 RoIAlign over P2–P5."""

    type: Literal["ConvMask"] = field(default="ConvMask", kw_only=True, repr=False)
    conv_dim: int = 256
    num_conv: int = 4
    pool: int = 14
    class_agnostic: bool = False


@dataclass(frozen=True)
class MaskRCNNConfig:
    """Mask R-CNN with a PointRend or a 4×conv mask head."""

    task: ClassVar[Literal["instance"]] = "instance"

    type: Literal["ModelConfig"] = field(default="ModelConfig", kw_only=True, repr=False)
    backbone: TrunkConfig
    num_classes: int = 80
    fpn: FPNConfig = field(default_factory=FPNConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    box: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    mask: Annotated[PointRendConfig | ConvHeadConfig, Field(discriminator="type")] = field(
        default_factory=PointRendConfig
    )
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    mask_score: bool = False  # scores are box confidence × expected mask precision

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise UserError(f"num_classes must be at least 1, got {self.num_classes}")
        if len(self.rpn.anchor_sizes) != 5:
            raise UserError(f"one anchor size for each of P2–P6 is needed, got {self.rpn.anchor_sizes}")
        if len(self.rpn.steps) != 5 or min(self.rpn.steps) < 1:
            raise UserError(f"rpn.steps needs a number of at least 1 for each of P2–P6, got {self.rpn.steps}")
        if min(self.box.samples, self.box.refinements) < 0:
            raise UserError(
                "box.samples and box.refinements must be at least 0,"
                f" got {self.box.samples} and {self.box.refinements}"
            )
