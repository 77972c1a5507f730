"""What a semantic network sees in the golden picture; a server is not ready before it sees the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.golden import HEIGHT, WIDTH, picture
from model.masks import rle
from model.pointrend.label_map import LabelMapRender
from model.predict.label_map import LabelMapOptions, LabelMapPredictor, label_map

OPTIONS = LabelMapOptions(resolution=2 * HEIGHT)
_CONFIDENCE, _EQUAL = 0.02, 0.95  # other processors round differently; a wrong graph is far off


@dataclass(frozen=True)
class SemanticGolden:
    """The label map, as compressed COCO run lengths of each of its classes."""

    confidence: float  # mean probability of the coarse prediction's best class
    classes: tuple[int, ...]
    counts: tuple[str, ...]


def semantic_seen(finished: LabelMapRender) -> SemanticGolden:
    """From the label map that OPTIONS give."""
    found = rle.encode_labels(label_map(finished, HEIGHT, WIDTH))
    confidence = float(finished.base.softmax(0).amax(0).mean())
    return SemanticGolden(confidence, tuple(found), tuple(rle.compress(counts) for counts in found.values()))


def semantic_golden(predictor: LabelMapPredictor) -> SemanticGolden:
    """What this predictor sees."""
    return semantic_seen(predictor(picture(), OPTIONS))


def semantic_agree(one: SemanticGolden, other: SemanticGolden) -> bool:
    equal = float((_labels(one) == _labels(other)).mean())
    return abs(one.confidence - other.confidence) <= _CONFIDENCE and equal >= _EQUAL


def _labels(golden: SemanticGolden) -> NDArray[np.uint8]:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, counts in zip(golden.classes, golden.counts, strict=True):
        labels[rle.decode(rle.decompress(counts), WIDTH, HEIGHT)] = label
    return labels
