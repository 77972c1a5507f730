"""Adaptive against dense rendering: what is compared of instance masks, and what of label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.paper.adaptive import AUTO, DENSE, Column, Points, Tally
from model.errors import UserError
from model.evaluation.iou import area_overlap, boundary_overlap, iou, mean
from model.masks.palette import VOID
from model.pointrend.instance import render_dense
from model.pointrend.label_map import dense_labels
from model.pointrend.levels import total_points
from model.pointrend.point_head import PointHead
from model.predict.instance import InstanceOptions, InstancePrediction
from model.predict.label_map import LabelMapOptions, LabelMapPrediction
from model.predict.predictor import Pixels

WORST = 1.0  # percentile

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]


@dataclass
class MaskTally:
    """Counts the agreement of masks with the dense masks, over all instances."""

    overlaps: list[float] = field(default_factory=list)  # IoU with the dense mask
    differing: list[float] = field(default_factory=list)  # share of cells that are decided otherwise
    evaluated: int = 0
    cells: int = 0

    @property
    def compared(self) -> int:
        return len(self.overlaps)

    def add(self, found: Sequence[Mask], dense: Sequence[Mask], truth: None, evaluated: int | None) -> None:
        """Count the masks of one image."""
        for mask, full in zip(found, dense, strict=True):
            union = int((mask | full).sum())
            self.overlaps.append(float((mask & full).sum()) / union if union else 1.0)
            self.differing.append(float((mask ^ full).mean()))
        cells = sum(mask.size for mask in found)
        self.cells += cells
        self.evaluated += cells if evaluated is None else evaluated

    def result(self) -> dict[str, float]:
        """Return the mean IoU, the first percentile of the IoUs, and the mean share of cells that differ."""
        if not self.overlaps:
            raise UserError("no instance is found: lower --score")
        return {
            "share": self.evaluated / self.cells,
            "mean_iou": float(np.mean(self.overlaps)),
            "worst_iou": float(np.percentile(self.overlaps, WORST)),
            "differing": float(np.mean(self.differing)),
        }


@dataclass(frozen=True)
class MaskCurve:
    """The model's own detections from a score on, at some sides of the box mask."""

    score: float = 0.5
    sides: Sequence[int] = (224, 448)
    points: Sequence[Points] = (49, 98, 196, 392, 784, 1568, 3136, AUTO)
    unit: ClassVar[str] = "instances"
    side_title: ClassVar[str] = "side"
    side_format: ClassVar[str] = "{}"
    columns: ClassVar[Sequence[Column]] = (
        Column("share of points", "share", ".1%"),
        Column("mean IoU", "mean_iou", ".4f"),
        Column("IoU of the worst 1 %", "worst_iou", ".4f"),
        Column("cells that differ", "differing", ".3%"),
    )

    def options(self, image: Pixels, side: int, points: int | None) -> InstanceOptions:
        return InstanceOptions(resolution=side, points=points, score=self.score)

    def dense(self, begun: InstancePrediction, head: PointHead) -> list[Mask]:
        render_dense(begun.renders, head)
        return self.found(begun)

    def found(self, rendered: InstancePrediction) -> list[Mask]:
        return [(mask.logits >= 0).numpy() for mask in rendered.finish().masks]

    def evaluated(self, rendered: InstancePrediction) -> int:
        return sum(total_points(r.target, r.points) for r in rendered.renders)

    def tally(self) -> Tally:
        return MaskTally()


@dataclass
class LabelMapTally:
    """Counts the agreement of label maps with the dense ones, and with the truth."""

    classes: int
    compared: int = 0
    evaluated: int = 0
    cells: int = 0
    equal: int = 0
    counted: int = 0
    area: NDArray[np.int64] = field(init=False)
    bands: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.area = np.zeros((2, self.classes), np.int64)
        self.bands = np.zeros((2, self.classes), np.int64)

    def add(self, found: Labels, dense: Labels, truth: Labels, evaluated: int | None) -> None:
        """Count one label map. If it is larger than the truth, each pixel of the truth is a square of cells."""
        scale = found.shape[0] // truth.shape[0]
        truth = truth.repeat(scale, 0).repeat(scale, 1)
        self.compared += 1
        self.cells += found.size
        self.evaluated += found.size if evaluated is None else evaluated
        self.equal += int(((found == dense) & (truth != VOID)).sum())
        self.counted += int((truth != VOID).sum())
        self.area += area_overlap(truth, found, self.classes)
        self.bands += boundary_overlap(truth, found, self.classes)

    def result(self) -> dict[str, float]:
        """Return the share of the counted cells that have the dense map's class; mIoU and boundary mIoU."""
        return {
            "share": self.evaluated / max(self.cells, 1),
            "equal": self.equal / max(self.counted, 1),
            "miou": mean(iou(self.area)),
            "boundary_miou": mean(iou(self.bands)),
        }


@dataclass(frozen=True)
class LabelMapCurve:
    """The model's label maps, at multiples of the image's own height."""

    classes: int
    sides: Sequence[int] = (1, 2)
    points: Sequence[Points] = (375, 750, 1500, 3000, 6000, 12000, 24000, AUTO, DENSE)
    unit: ClassVar[str] = "images"
    side_title: ClassVar[str] = "height"
    side_format: ClassVar[str] = "{}×"
    columns: ClassVar[Sequence[Column]] = (
        Column("share of points", "share", ".1%"),
        Column("pixels as dense", "equal", ".2%"),
        Column("mIoU", "miou", ".2f", 100),
        Column("boundary mIoU", "boundary_miou", ".2f", 100),
    )

    def options(self, image: Pixels, side: int, points: int | None) -> LabelMapOptions:
        return LabelMapOptions(resolution=side * image.shape[0], points=points)

    def dense(self, begun: LabelMapPrediction, head: PointHead) -> Labels:
        return dense_labels(begun.render, head)

    def found(self, rendered: LabelMapPrediction) -> Labels:
        return rendered.finish().labels(*rendered.asked)

    def evaluated(self, rendered: LabelMapPrediction) -> int:
        return sum(len(level.cells) for level in rendered.render.pyramid.levels)

    def tally(self) -> Tally:
        return LabelMapTally(self.classes)
