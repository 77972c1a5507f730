"""Configuration of semantic segmentation: Semantic FPN or DeepLabV3, with or without a point head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from model.config.parts import FPNConfig, Preprocessing, TrunkConfig
from model.errors import UserError


@dataclass(frozen=True)
class SemanticFPNConfig:
    """A head on the pyramid whose levels are convolved, enlarged to the finest one's size, and summed."""

    type: Literal["SemanticFPN"] = field(default="SemanticFPN", kw_only=True, repr=False)
    fpn: FPNConfig = field(default_factory=FPNConfig)
    first_level: Literal[2, 3] = 2  # P2–P5 with logits at stride 4, or P3–P5 at stride 8
    channels: int = 128

    @property
    def stride(self) -> int:
        """Stride of the coarse logits, in network-input pixels."""
        return 2**self.first_level


@dataclass(frozen=True)
class DeepLabV3Config:
    """Atrous spatial pyramid pooling on a trunk that is dilated below `output_stride`."""

    type: Literal["DeepLabV3"] = field(default="DeepLabV3", kw_only=True, repr=False)
    output_stride: Literal[8, 16] = 16
    channels: int = 256
    dropout: float = 0.1

    @property
    def stride(self) -> int:
        """Stride of the coarse logits, in network-input pixels."""
        return self.output_stride


@dataclass(frozen=True)
class SemanticPointConfig:
    """The point head of a label map; coarse input at every layer made the reference's training diverge."""

    type: Literal["SemanticPoint"] = field(default="SemanticPoint", kw_only=True, repr=False)
    point_dim: int = 256
    num_point_fc: int = 3
    coarse_each_layer: bool = False

    @property
    def class_agnostic(self) -> bool:
        return False

    @property
    def context(self) -> int:
        return 0


@dataclass(frozen=True)
class SemanticConfig:
    """Semantic FPN or DeepLabV3, alone or (with `point`) refined by PointRend."""

    task: ClassVar[Literal["semantic"]] = "semantic"

    type: Literal["SemanticConfig"] = field(default="SemanticConfig", kw_only=True, repr=False)
    backbone: TrunkConfig
    num_classes: int
    base: Annotated[SemanticFPNConfig | DeepLabV3Config, Field(discriminator="type")] = field(
        default_factory=SemanticFPNConfig
    )
    point: SemanticPointConfig | None = field(default_factory=SemanticPointConfig)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= 255:  # label maps are 8 bits; 255 is no class
            raise UserError(f"num_classes must be 2–255, got {self.num_classes}")
