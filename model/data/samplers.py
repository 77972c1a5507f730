"""Which training images make up which batch, in a reproducible order.

A batch depends on nothing but the seed and the step, so a run can stop and go on at any step, and
every rank knows the batches of all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """A record and the number that its random view comes from, unique in a run."""

    position: int  # among the data set's records
    salt: int
    step: int = 0  # its images share a size on all ranks, as far as their shapes allow


def box_only_period(num_masked: int, num_box_only: int, least: int) -> int:
    """Return how often a batch is box-only (every n-th): in proportion to such images, but every `least`-th at most.

    0 means never. `least` of 0 leaves box-only images out, unless there are no others.
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
    `landscape` ([num_masked + num_box_only] bools, see InstanceTrainingSet) says so.
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
            raise ValueError(f"impossible batches: {batch_size=}, {rank=}, {world_size=}, {box_only_every=}")
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
        """Return whether the batch of this step has boxes only (on every rank)."""
        return self.box_only_every > 0 and (step + 1) % self.box_only_every == 0

    def batch(self, step: int) -> list[Draw]:
        """Return this rank's batch of a step."""
        box_only = self.is_box_only(step)
        boxes_before = step // self.box_only_every if self.box_only_every else 0
        turn = boxes_before if box_only else step - boxes_before
        shared = self.batch_size * self.world_size
        epoch, position = divmod(turn, max(1, len(self.pools[box_only]) // shared))
        indices = self._epoch(int(box_only), epoch)[position * self.world_size + self.rank]
        number = step * self.world_size + self.rank
        return [Draw(int(index), number * self.batch_size + i, step) for i, index in enumerate(indices)]

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.batch(step) for step in itertools.count(self.start))

    def _epoch(self, kind: int, epoch: int) -> NDArray[np.int64]:
        """Return all ranks' batches of one permutation, [at least world_size, batch_size] positions."""
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
