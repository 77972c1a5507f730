"""Batches of a training run, as every task needs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from model.data.fields import DataError
from model.training.distributed import Process
from model.training.errors import TrainingError
from model.training.recipe import Schedule

BatchT = TypeVar("BatchT")


def batch_per_process(recipe: Schedule, process: Process) -> int:
    """Return how many images of a batch are this process's. Raises TrainingError if they cannot be shared equally."""
    if recipe.batch_size % process.world_size:
        raise TrainingError(
            f"batch size {recipe.batch_size} does not divide by {process.world_size} processes"
        )
    return recipe.batch_size // process.world_size


def with_plain_errors(batches: Iterator[BatchT]) -> Iterator[BatchT]:
    """Yield the same batches; an error about data loses the traceback that a worker process puts before it."""
    try:
        yield from batches
    except DataError as error:
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error
