"""The golden picture: a bundle records what its network sees in it, and a server is ready once it sees the same.

Tolerances allow for other processors, which round differently; a wrong graph is far beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.masks import rle
from model.masks.paste import Crop
from model.pointrend.label_map import LabelMapRender
from model.predict.instance import InstanceOptions, InstancePredictor, Prompt, crop
from model.predict.label_map import LabelMapOptions, LabelMapPredictor, label_map

WIDTH, HEIGHT = 128, 96
INSTANCE_OPTIONS = InstanceOptions(resolution=56, prompts=(Prompt((20.0, 10.0, 108.0, 86.0), 0),))
SEMANTIC_OPTIONS = LabelMapOptions(resolution=2 * HEIGHT)
_SCORE, _IOU = 0.02, 0.95
_CONFIDENCE, _EQUAL = 0.02, 0.95


@dataclass(frozen=True)
class InstanceGolden:
    """What a network sees in one given box of the golden picture."""

    score: float
    counts: str  # the mask as compressed COCO run lengths

    @staticmethod
    def seen(score: float, mask: Crop) -> InstanceGolden:
        """Return the record of the one mask that INSTANCE_OPTIONS give."""
        return InstanceGolden(score, rle.compress(rle.encode(mask, WIDTH, HEIGHT)))

    @staticmethod
    def of(predictor: InstancePredictor) -> InstanceGolden:
        """Return what a predictor sees."""
        (region,) = predictor(picture(), INSTANCE_OPTIONS)
        return InstanceGolden.seen(region.score, crop(region, WIDTH, HEIGHT))

    def agrees(self, other: InstanceGolden) -> bool:
        """Return whether the scores and the masks are equal within tolerance."""
        a, b = (rle.decode(rle.decompress(g.counts), WIDTH, HEIGHT) for g in (self, other))
        iou = (a & b).sum() / max((a | b).sum(), 1) if (a | b).any() else 1.0
        return bool(abs(self.score - other.score) <= _SCORE and iou >= _IOU)


@dataclass(frozen=True)
class SemanticGolden:
    """The label map that a network sees, as compressed COCO run lengths of each class that occurs."""

    confidence: float  # mean probability of the coarse prediction's best class
    classes: tuple[int, ...]
    counts: tuple[str, ...]

    @staticmethod
    def seen(finished: LabelMapRender) -> SemanticGolden:
        """Return the record of the label map that SEMANTIC_OPTIONS give."""
        found = rle.encode_labels(label_map(finished, HEIGHT, WIDTH))
        confidence = float(finished.base.softmax(0).amax(0).mean())
        return SemanticGolden(
            confidence, tuple(found), tuple(rle.compress(counts) for counts in found.values())
        )

    @staticmethod
    def of(predictor: LabelMapPredictor) -> SemanticGolden:
        """Return what a predictor sees."""
        return SemanticGolden.seen(predictor(picture(), SEMANTIC_OPTIONS))

    def agrees(self, other: SemanticGolden) -> bool:
        """Return whether the confidences and nearly all labels are equal within tolerance."""
        equal = float((self._labels() == other._labels()).mean())
        return abs(self.confidence - other.confidence) <= _CONFIDENCE and equal >= _EQUAL

    def _labels(self) -> NDArray[np.uint8]:
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, counts in zip(self.classes, self.counts, strict=True):
            labels[rle.decode(rle.decompress(counts), WIDTH, HEIGHT)] = label
        return labels


def picture() -> NDArray[np.uint8]:
    """Return the golden picture, [H, W, 3]: a striped disc on a slope, in whole numbers, so equal on every machine."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    inside = (x - 64) ** 2 + (y - 48) ** 2 < 32**2
    channels = [np.where(inside, 40 + 9 * ((x + c * y) // 6 % 20), x + y // (c + 1)) for c in range(3)]
    return np.stack(channels, -1).astype(np.uint8)
