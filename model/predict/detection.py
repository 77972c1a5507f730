"""Boxes that a detector of its own finds, in front of a network that draws masks in given boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wanted:
    """Which detections a request asks for."""

    score: float = 0.5  # the least
    classes: frozenset[int] | None = None  # indices; None: all
    most: int = 100


@dataclass(frozen=True, eq=False)
class DetectedBoxes:
    """What a detector found in one image, best first, on the host."""

    boxes: Tensor  # [N, 4] x0, y0, x1, y1 in pixels of the image that the detector was given
    scores: Tensor  # [N]
    classes: Tensor  # [N] indices of the model's categories

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, wanted: Wanted) -> DetectedBoxes:
        """Return the best of these boxes that are asked for."""
        kept = self.scores >= wanted.score
        if wanted.classes is not None:
            kept &= torch.isin(self.classes, torch.tensor(sorted(wanted.classes), dtype=torch.int64))
        rows = kept.nonzero()[: wanted.most, 0]
        return DetectedBoxes(self.boxes[rows], self.scores[rows], self.classes[rows])


class BoxDetector(Protocol):
    """A detector, whatever runs it."""

    def __call__(self, images: Sequence[Tensor]) -> list[DetectedBoxes]:
        """Return what is found in each of these RGB images, uint8 [3, h, w] of any sizes."""
        ...
