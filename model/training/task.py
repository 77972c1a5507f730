"""What a task brings to the training loop: everything that the loop itself does not know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from model.config.categories import Category
from model.masks.palette import Colour
from model.networks.build import Network
from model.training.distributed import Process
from model.training.recipe import Recipe
from model.training.reports.validation import Measurement

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class TrainingFiles:
    """The files that a run is given."""

    sources: Sequence[tuple[Path, Path]]  # annotations and the folder that belongs to them
    val_data: Path | None = None
    val_images: Path | None = None
    one_class: str | None = None  # of instances: the name of the one class that all categories become


class TrainingTask(Protocol[BatchT]):
    """A network with its data and recipe, of one task.

    The loop asks for batches, hands each to `losses` and, now and then, measures the network.
    """

    @property
    def network(self) -> Network: ...
    @property
    def recipe(self) -> Recipe: ...
    @property
    def categories(self) -> tuple[Category, ...]: ...
    @property
    def palette(self) -> tuple[Colour, ...]:
        """The classes' colours in the checkpoint; empty: colours as different as they can be."""
        ...

    @property
    def step(self) -> nn.Module:
        """The network with its losses, which DistributedDataParallel wraps."""
        ...

    @property
    def epoch(self) -> int:
        """How many steps go once through the data."""
        ...

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics that are printed and drawn."""
        ...

    @property
    def validation_file(self) -> Path | None:
        """The annotations that the network is measured on. None: it is not measured."""
        ...

    def batches(self, process: Process, start: int, workers: int) -> Iterator[BatchT]:
        """Return this process's batches from a step on. Raises TrainingError, and DataError when one is read."""
        ...

    def losses(
        self, step: nn.Module, batch: BatchT, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the losses of a batch by `self.step`, which may be wrapped."""
        ...

    def describe_data(self) -> list[str]:
        """Return what is said of the training data. It may read all of it."""
        ...

    def describe_validation(self, every: int) -> list[str]:
        """Return what is said of the validation data, which the network is measured on `every` so many steps."""
        ...

    def measure(self, network: Any) -> Measurement:
        """Measure a network of this task that is in evaluation mode. Nothing random is drawn."""
        ...
