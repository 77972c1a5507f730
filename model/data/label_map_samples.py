"""Training samples from label maps: read, augmented, collated.

h, w crop size
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.data.images import Pixels
from model.data.label_augment import LabelAugmentation
from model.data.label_maps import LabelMaps
from model.data.samplers import Draw

LabelMapSample = tuple[Pixels, Pixels]  # image [h, w, 3], labels [h, w]


@dataclass(frozen=True)
class LabelMapBatch:
    """Images of one training step with their label maps."""

    images: list[Tensor]  # each [3, h, w] uint8 RGB, all of one size
    labels: Tensor  # [B, h, w] int64, VOID: ignored


class LabelMapTrainingSet(Dataset[LabelMapSample]):
    """Augmented samples: image [h, w, 3] and labels [h, w] of the augmentation's crop size."""

    def __init__(self, data: LabelMaps, augmentation: LabelAugmentation, seed: int = 0) -> None:
        self.data, self.augmentation, self.seed = data, augmentation, seed

    def __len__(self) -> int:
        return len(self.data.pairs)

    def __getitem__(self, draw: Draw | int) -> LabelMapSample:
        """Return the sample of a draw; a plain position means salt 0."""
        index, salt = (draw.position, draw.salt) if isinstance(draw, Draw) else (draw, 0)
        rng = np.random.default_rng((self.seed, index, salt))
        image, labels = self.data.read(index)
        return self.augmentation(image, labels, rng)


def collate_label_maps(samples: Sequence[LabelMapSample]) -> LabelMapBatch:
    """Return samples as tensors; normalisation is the model's."""
    return LabelMapBatch(
        [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image, _ in samples],
        torch.from_numpy(np.stack([labels for _, labels in samples]).astype(np.int64)),
    )
