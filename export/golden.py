"""The golden picture: a bundle records what its network sees in it, and a server is ready once it sees the same.

Tolerances allow for other processors, which round differently, and are wider in bf16; a wrong graph is far beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from export.execution import Precision
from model.masks import rle
from model.predict.instance import InstanceOptions, Instances
from model.predict.label_map import LabelMap, LabelMapOptions
from model.predict.predictor import Predictor, Prompt

WIDTH, HEIGHT = 128, 96


class Golden(Protocol):
    """What a network sees in the golden picture, as its bundle records it."""

    OPTIONS: ClassVar[Any]  # what is asked of the network
    # How many times the tolerance a coarse pass in bf16 may differ from the export, which ran in fp32.
    BF16: ClassVar[float]

    @classmethod
    def seen(cls, result: Any) -> Self:
        """Return the record of a result for OPTIONS. Raise ValueError if the result is no usable one."""
        ...

    def difference(self, seen: Self, slack: float = 1.0) -> str:
        """Return what is different in `seen`, or "" if both are equal within `slack` times the tolerance."""
        ...


@dataclass(frozen=True)
class InstanceGolden:
    """The score and the mask of one given box."""

    OPTIONS: ClassVar = InstanceOptions(resolution=56, prompts=(Prompt((20.0, 10.0, 108.0, 86.0), 0),))
    SCORE: ClassVar = 0.02
    IOU: ClassVar = 0.95
    # A model that draws people alone is unsure about most of the picture's disc: in bf16 its mask had an IoU of 0.825.
    BF16: ClassVar = 5.0

    score: float
    counts: str  # the mask as compressed COCO run lengths

    @classmethod
    def seen(cls, result: Instances) -> InstanceGolden:
        """Return the record of the one mask. Raise ValueError if there is none, or if its logits are not finite."""
        if len(result.masks) != 1 or not result.masks[0].logits.isfinite().all():
            raise ValueError("gives no usable mask for a box")
        mask = result.masks[0]
        return cls(mask.score, rle.compress(rle.encode(mask.crop(WIDTH, HEIGHT), WIDTH, HEIGHT)))

    def difference(self, seen: InstanceGolden, slack: float = 1.0) -> str:
        """Return what is different in `seen`, or "" if scores and masks are equal within tolerance."""
        a, b = (rle.decode(rle.decompress(g.counts), WIDTH, HEIGHT) for g in (self, seen))
        iou = float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0
        if abs(self.score - seen.score) <= slack * self.SCORE and iou >= 1 - slack * (1 - self.IOU):
            return ""
        return f"score {seen.score:.4f} instead of {self.score:.4f}, or another mask (IoU {iou:.3f})"


@dataclass(frozen=True)
class SemanticGolden:
    """The label map, and how confident the base model is."""

    OPTIONS: ClassVar = LabelMapOptions(resolution=2 * HEIGHT)
    CONFIDENCE: ClassVar = 0.02
    EQUAL: ClassVar = 0.95
    BF16: ClassVar = 3.0

    confidence: float  # mean probability of the coarse prediction's best class
    classes: tuple[int, ...]  # those that occur
    counts: tuple[str, ...]  # their masks as compressed COCO run lengths

    @classmethod
    def seen(cls, result: LabelMap) -> SemanticGolden:
        """Return the record of a label map. Raise ValueError if its logits are not finite."""
        base = result.pyramid.base
        if not base.isfinite().all():
            raise ValueError("gives no usable label map")
        found = rle.encode_labels(result.labels(HEIGHT, WIDTH))
        counts = tuple(rle.compress(runs) for runs in found.values())
        return cls(float(base.softmax(0).amax(0).mean()), tuple(found), counts)

    def difference(self, seen: SemanticGolden, slack: float = 1.0) -> str:
        """Return what is different in `seen`, or "" if confidence and labels are equal within tolerance."""
        equal = float((self._labels() == seen._labels()).mean())
        as_sure = abs(self.confidence - seen.confidence) <= slack * self.CONFIDENCE
        if as_sure and equal >= 1 - slack * (1 - self.EQUAL):
            return ""
        return f"another label map ({equal:.1%} of the labels are equal)"

    def _labels(self) -> NDArray[np.uint8]:
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, counts in zip(self.classes, self.counts, strict=True):
            labels[rle.decode(rle.decompress(counts), WIDTH, HEIGHT)] = label
        return labels


@dataclass(frozen=True)
class DetectorGolden:
    """What a detector in front of a mask head is surest of."""

    OPTIONS: ClassVar = InstanceOptions(resolution=28, score=0.0, max_instances=20)
    KEPT: ClassVar = 3
    SCORE: ClassVar = 0.02
    PIXELS: ClassVar = 2.0
    BF16: ClassVar = 3.0

    classes: tuple[int, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, float, float, float], ...]  # x0, y0, x1, y1 in image pixels

    @classmethod
    def seen(cls, result: Instances) -> DetectorGolden:
        """Return the record of all masks. Raise ValueError if logits of one are not finite."""
        if not all(mask.logits.isfinite().all() for mask in result.masks):
            raise ValueError("gives no usable mask for a box that its detector found")
        places: list[Any] = [tuple(mask.box.tolist()) for mask in result.masks]
        masks = result.masks
        return cls(tuple(m.category for m in masks), tuple(m.score for m in masks), tuple(places))

    @property
    def best(self) -> DetectorGolden:
        """The record of the few best, which a bundle keeps."""
        return DetectorGolden(self.classes[: self.KEPT], self.scores[: self.KEPT], self.boxes[: self.KEPT])

    def difference(self, seen: DetectorGolden, slack: float = 1.0) -> str:
        """Return what is different in `seen`, or "" if each known detection is among those that were seen."""
        for known in zip(self.classes, self.scores, self.boxes, strict=True):
            others = zip(seen.classes, seen.scores, seen.boxes, strict=True)
            if not any(self._same(known, other, slack) for other in others):
                place = ", ".join(f"{value:.0f}" for value in known[2])
                return f"its detector does not find class {known[0]} with score {known[1]:.3f} at [{place}]"
        if not self.classes and any(score > slack * self.SCORE for score in seen.scores):
            return f"its detector finds {len(seen.classes)} things where there were none"
        return ""

    def _same(self, one: Any, other: Any, slack: float) -> bool:
        near = all(abs(a - b) <= slack * self.PIXELS for a, b in zip(one[2], other[2], strict=True))
        return bool(one[0] == other[0] and abs(one[1] - other[1]) <= slack * self.SCORE and near)


# By task; and "detector", for models that have one.
GOLDENS: Mapping[str, type[InstanceGolden] | type[SemanticGolden] | type[DetectorGolden]] = {
    "instance": InstanceGolden,
    "semantic": SemanticGolden,
    "detector": DetectorGolden,
}


def golden(asked: str, predictor: Predictor) -> Any:
    """Return the record of what a predictor sees, of the class that GOLDENS has for what is asked."""
    kind: Any = GOLDENS[asked]
    return kind.seen(predictor(picture(), kind.OPTIONS).finish())


def check(name: str, asked: str, known: Golden | None, result: Any, precision: Precision = "fp32") -> None:
    """Raise RuntimeError unless a result for the golden picture is usable and agrees with what is known of it.

    precision: of the coarse pass.
    """
    try:
        seen = GOLDENS[asked].seen(result)
    except ValueError as error:
        raise RuntimeError(f"model {name!r} {error}") from error
    slack = GOLDENS[asked].BF16 if precision == "bf16" else 1.0
    if known is not None and (difference := known.difference(seen, slack)):
        raise RuntimeError(
            f"model {name!r} does not see what its export saw in the golden picture: {difference}"
        )


def picture() -> NDArray[np.uint8]:
    """Return the golden picture, [H, W, 3]: a striped disc on a slope, in whole numbers, so equal on every machine."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    inside = (x - 64) ** 2 + (y - 48) ** 2 < 32**2
    channels = [np.where(inside, 40 + 9 * ((x + c * y) // 6 % 20), x + y // (c + 1)) for c in range(3)]
    return np.stack(channels, -1).astype(np.uint8)
