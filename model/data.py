"""Training samples from COCO-format data: read, augmented, collated, and drawn in a reproducible order.

A batch depends on nothing but the seed and the step, so a run can stop and go on at any step, and
every rank knows the batches of all.

H, W image size · N instances
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from model.augment import Augmentation, Pixels, augment
from model.coco import Annotation, CocoDataset, DataError, Record, load_coco
from model.copy_paste import Sample, paste

__all__ = [
    "Annotation",
    "Batch",
    "CocoDataset",
    "DataError",
    "Draw",
    "MixedBatches",
    "Record",
    "Sample",
    "Target",
    "TrainDataset",
    "box_only_period",
    "collate",
    "load_coco",
    "read_image",
]


@dataclass(frozen=True)
class Target:
    boxes: Tensor  # [N,4] float32 x0, y0, x1, y1 in pixels
    classes: Tensor  # [N] int64
    masks: Tensor | None  # [N,H,W] uint8 of 0 and 1; None: trains detection only
    masked: Tensor | None = None  # [N] bool: whose mask is known, if not everyone's

    def trains_masks(self) -> Tensor:
        """[N] bool."""
        if self.masked is not None:
            return self.masked
        return torch.full((len(self.boxes),), self.masks is not None, device=self.boxes.device)

    def to(self, device: torch.device) -> Target:
        """The same on a device."""
        masks, masked = self.masks, self.masked
        return Target(
            self.boxes.to(device),
            self.classes.to(device),
            None if masks is None else masks.to(device),
            None if masked is None else masked.to(device),
        )


@dataclass(frozen=True)
class Batch:
    images: list[Tensor]  # each [3,H,W] uint8 RGB, of different sizes
    targets: list[Target]


class Draw(NamedTuple):
    """A record and the number that its random view comes from, unique in a run."""

    position: int  # among the data set's records
    salt: int
    batch: int = 0  # its images share a size, as far as their shapes allow


def read_image(record: Record) -> Pixels:
    """The record's image [H,W,3], RGB, as displayed. Raises DataError if unreadable or of another size."""
    try:
        with Image.open(record.path) as file:
            pixels = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except Exception as error:  # PIL raises nearly anything at a damaged file
        raise DataError(f"image {record.image_id} ({record.path}): {error}") from error
    if pixels.shape[:2] != (record.height, record.width):
        found = f"{pixels.shape[1]}×{pixels.shape[0]}"
        raise DataError(
            f"image {record.image_id} ({record.path}): {found}, annotated as {record.width}×{record.height}"
        )
    return pixels


class TrainDataset(Dataset[Sample]):
    """Augmented samples of one or several data sets of the same categories.

    Records with masks come first: positions 0 … num_masked - 1; the box-only ones follow. Images in which
    nothing is annotated train as background if `empty`; those with nothing but crowds never do.
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
            left_out = f"{sum(r.left_out for r in listed)} annotations are crowds or have no area"
            raise DataError(f"nothing to train on: not one instance in {len(listed)} images, {left_out}")
        kept = (r for r in listed if r.annotations or (empty and not r.left_out))
        self.records: tuple[Record, ...] = tuple(sorted(kept, key=lambda r: not r.has_masks))
        self.num_masked = sum(r.has_masks for r in self.records)
        self._sources = [i for i, r in enumerate(self.records) if r.has_masks and r.annotations]  # to paste

    def __len__(self) -> int:
        return len(self.records)

    def landscape(self) -> NDArray[np.bool_]:
        """[number of records]: which are wider than high, to batch like with like."""
        return np.array([r.width > r.height for r in self.records], dtype=bool)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The sample of a draw; a plain position means salt 0 of batch 0."""
        index, salt, batch = draw if isinstance(draw, Draw) else (draw, 0, 0)
        rng, views = np.random.default_rng((self.seed, index, salt)), self.augmentation
        short_edge = int(np.random.default_rng((self.seed, batch)).choice(views.short_edges))
        sample = self._sample(index, views.at(short_edge), rng)
        if len(self._sources) and rng.random() < views.paste:
            other = int(rng.choice(self._sources))
            smaller = views.at(short_edge, views.paste_least ** rng.random())
            sample = paste(sample, self._sample(other, smaller, rng), rng)
        return sample

    def _sample(self, index: int, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        record = self.records[index]
        shapes = [a.shape for a in record.annotations]
        view = augment(read_image(record), record.boxes(), shapes, augmentation, rng)
        classes = np.array([a.category for a in record.annotations], dtype=np.int64)
        masked = np.array([shape is not None for shape in shapes], dtype=bool)
        return Sample(view.image, view.boxes, classes[view.kept], view.masks, masked[view.kept])


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as tensors; padding and normalisation are the model's."""
    return Batch(
        [torch.from_numpy(s.image).permute(2, 0, 1).contiguous() for s in samples],
        [
            Target(
                torch.from_numpy(s.boxes),
                torch.from_numpy(s.classes),
                torch.from_numpy(s.masks) if s.masked.all() or s.masked.any() else None,
                None if s.masked.all() else torch.from_numpy(s.masked),
            )
            for s in samples
        ],
    )


def box_only_period(num_masked: int, num_box_only: int, least: int) -> int:
    """Every how-manieth batch is box-only: as often as such images are, but every `least`-th at most.

    0 means no batch. `least` of 0 leaves box-only images out, unless there are no others.
    """
    if not num_masked:
        return 1
    if not num_box_only or not least:
        return 0
    return max(least, round((num_masked + num_box_only) / num_box_only))


class MixedBatches(Sampler[list[Draw]]):
    """Endless batches, either of images with masks or of box-only ones; one rank's share of them.

    Every `box_only_every`-th batch is box-only (0: none). Each kind goes through its own
    permutations: an epoch leaves out what does not fill a batch on every rank, the next permutation
    another part; a set smaller than that is repeated. Images lie landscape with landscape as far as
    `landscape` ([num_masked + num_box_only] bools, see TrainDataset) says so.
    """

    def __init__(
        self,
        num_masked: int,
        num_box_only: int,
        batch_size: int,
        *,
        seed: int = 0,
        box_only_every: int = 2,
        rank: int = 0,
        world_size: int = 1,
        landscape: NDArray[np.bool_] | None = None,
        start: int = 0,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size or box_only_every < 0:
            raise ValueError(f"impossible: {batch_size=}, {rank=}, {world_size=}, {box_only_every=}")
        if (num_masked < 1 and box_only_every != 1) or (num_box_only < 1 and box_only_every):
            raise ValueError(f"nothing to draw from: {num_masked=}, {num_box_only=}, {box_only_every=}")
        total = num_masked + num_box_only
        self.pools = (np.arange(num_masked), np.arange(num_masked, total))
        self.landscape = np.zeros(total, dtype=bool) if landscape is None else np.asarray(landscape)
        if len(self.landscape) != total:
            raise ValueError(f"landscape has {len(self.landscape)} entries for {total} records")
        self.batch_size, self.box_only_every, self.seed = batch_size, box_only_every, seed
        self.rank, self.world_size = rank, world_size
        self.start = start  # the step that iteration begins with
        self._epochs: dict[int, tuple[int, NDArray[np.int64]]] = {}  # the current one of each kind

    def is_box_only(self, step: int) -> bool:
        """Whether the batch of this step has boxes only (on every rank)."""
        return self.box_only_every > 0 and (step + 1) % self.box_only_every == 0

    def batch(self, step: int) -> list[Draw]:
        """This rank's batch of a step."""
        box_only = self.is_box_only(step)
        boxes_before = step // self.box_only_every if self.box_only_every else 0
        turn = boxes_before if box_only else step - boxes_before
        shared = self.batch_size * self.world_size
        epoch, position = divmod(turn, max(1, len(self.pools[box_only]) // shared))
        indices = self._epoch(int(box_only), epoch)[position * self.world_size + self.rank]
        number = step * self.world_size + self.rank
        return [Draw(int(index), number * self.batch_size + i, number) for i, index in enumerate(indices)]

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.batch(step) for step in itertools.count(self.start))

    def _epoch(self, kind: int, epoch: int) -> NDArray[np.int64]:
        """All ranks' batches of one permutation, [at least world_size, batch_size] positions."""
        cached = self._epochs.get(kind)
        if cached and cached[0] == epoch:
            return cached[1]
        rng = np.random.default_rng((self.seed, kind, epoch))
        order = rng.permutation(self.pools[kind])
        # A multiple of the batch size, so that sorting by shape mixes shapes in one batch only.
        count = max(len(order) // self.batch_size, self.world_size) * self.batch_size
        order = np.resize(order, count)
        order = order[np.argsort(self.landscape[order], kind="stable")]
        batches = rng.permutation(order.reshape(-1, self.batch_size))
        self._epochs[kind] = (epoch, batches)
        return batches
