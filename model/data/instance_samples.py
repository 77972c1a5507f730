"""Training samples from COCO-format data: read, augmented, collated.

H, W image size · N instances
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from model.data.augment import Augmentation, augment
from model.data.coco_records import CocoDataset, Record, read_image, why_nothing
from model.data.copy_paste import InstanceSample, paste
from model.data.fields import DataError
from model.data.samplers import Draw


@dataclass(frozen=True)
class Target:
    """What is to be found in one image."""

    boxes: Tensor  # [N,4] float32 x0, y0, x1, y1 in pixels
    classes: Tensor  # [N] int64
    masks: Tensor | None  # [N,H,W] uint8 of 0 and 1; None: trains detection only
    masked: Tensor | None = None  # [N] bool: whose mask is known, if not everyone's
    ignored: Tensor | None = None  # [K,4] boxes of what is neither object nor background

    def trains_masks(self) -> Tensor:
        """Return which instances have a mask to learn from, [N] bool."""
        if self.masked is not None:
            return self.masked
        return torch.full((len(self.boxes),), self.masks is not None, device=self.boxes.device)

    def to(self, device: torch.device) -> Target:
        """Return the same target on a device."""
        optional = (self.masks, self.masked, self.ignored)
        moved = (None if tensor is None else tensor.to(device) for tensor in optional)
        return Target(self.boxes.to(device), self.classes.to(device), *moved)


@dataclass(frozen=True)
class InstanceBatch:
    """Images of one training step with their targets."""

    images: list[Tensor]  # each [3,H,W] uint8 RGB, of different sizes
    targets: list[Target]


class InstanceTrainingSet(Dataset[InstanceSample]):
    """Augmented samples of one or several data sets of the same categories.

    Records with masks come first: positions 0 … num_masked - 1; the box-only ones follow. Images in which
    nothing is annotated train as background if `empty`; those whose annotations were all left out never do.
    """

    def __init__(
        self,
        datasets: Sequence[CocoDataset],
        augmentation: Augmentation,
        seed: int = 0,
        *,
        empty: bool = True,
    ) -> None:
        odd = {c for d in datasets for c in set(d.categories) ^ set(datasets[0].categories)}
        if odd or not datasets:
            names = ", ".join(sorted(f"{c.id} {c.name}" for c in odd))
            raise DataError(
                f"data sets to train on together must have the same categories; not in all: {names}"
            )
        self.categories = datasets[0].categories
        self.augmentation = augmentation
        self.seed = seed
        listed = [r for d in datasets for r in d.records]
        if not listed:
            raise DataError("nothing to train on: the data has no images")
        if not any(r.annotations for r in listed):
            raise DataError(
                f"nothing to train on, not one instance in {len(listed)} images: {why_nothing(listed)}"
            )
        kept = (r for r in listed if r.annotations or (empty and not r.left_out))
        self.records: tuple[Record, ...] = tuple(sorted(kept, key=lambda r: not r.has_masks))
        self.num_masked = sum(r.has_masks for r in self.records)
        self._sources = [i for i, r in enumerate(self.records) if r.has_masks and r.annotations]  # to paste

    def __len__(self) -> int:
        return len(self.records)

    def landscape(self) -> NDArray[np.bool_]:
        """Return which records are wider than high, [number of records], so that batches hold like shapes."""
        return np.array([r.width > r.height for r in self.records], dtype=bool)

    def __getitem__(self, draw: Draw | int) -> InstanceSample:
        """Return the sample of a draw; a plain position means salt 0 of step 0."""
        index, salt, step = draw if isinstance(draw, Draw) else (draw, 0, 0)
        rng, views = np.random.default_rng((self.seed, index, salt)), self.augmentation
        short_edge = int(np.random.default_rng((self.seed, step)).choice(views.short_edges))
        sample = self._sample(index, views.at(short_edge), rng)
        if len(self._sources) and rng.random() < views.paste:
            other = int(rng.choice(self._sources))
            smaller = views.at(short_edge, views.paste_least ** rng.random())
            sample = paste(sample, self._sample(other, smaller, rng), rng)
        return sample

    def _sample(self, index: int, augmentation: Augmentation, rng: np.random.Generator) -> InstanceSample:
        record = self.records[index]
        shapes = [a.shape for a in record.annotations]
        view = augment(read_image(record), record.boxes(), shapes, augmentation, rng, record.crowds)
        classes = np.array([a.category for a in record.annotations], dtype=np.int64)
        masked = np.array([shape is not None for shape in shapes], dtype=bool)
        kept = view.kept
        return InstanceSample(view.image, view.boxes, classes[kept], view.masks, masked[kept], view.ignored)


def collate_instances(samples: Sequence[InstanceSample]) -> InstanceBatch:
    """Return samples as tensors; padding and normalisation are the model's."""
    return InstanceBatch(
        [torch.from_numpy(s.image).permute(2, 0, 1).contiguous() for s in samples],
        [
            Target(
                torch.from_numpy(s.boxes),
                torch.from_numpy(s.classes),
                torch.from_numpy(s.masks) if s.masked.all() or s.masked.any() else None,
                None if s.masked.all() else torch.from_numpy(s.masked),
                torch.from_numpy(s.ignored),
            )
            for s in samples
        ],
    )
