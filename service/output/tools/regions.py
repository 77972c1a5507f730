"""What was found, region by region, for formats that treat instances and the classes of a label map alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from model.config.categories import Category
from model.masks.rle import runs_of_counts
from model.masks.runs import Runs
from service.output.format import Found
from service.output.instances import shortest, with_runs
from service.output.limits import Allowance
from service.output.segments import with_counts


@dataclass(frozen=True, eq=False)
class FoundRegion:
    """An instance, or all pixels of a class."""

    category: Category
    index: int  # of the category among the model's
    score: float | None  # None: of a class
    runs: Runs


def regions(found: Found, left: Allowance) -> Iterator[FoundRegion]:
    """Return the regions that were found. Raises CancelledError, TooDetailed or AnswerTooLarge as encoders do."""
    return _REGIONS[found.task](found, left)


def _instances(found: Found, left: Allowance) -> Iterator[FoundRegion]:
    for mask, runs in with_runs(found, left):
        category = found.categories[mask.category]
        yield FoundRegion(category, mask.category, shortest(np.float32(mask.score)), runs)


def _segments(found: Found, left: Allowance) -> Iterator[FoundRegion]:
    for label, counts in with_counts(found, left):
        left.check()
        yield FoundRegion(
            found.categories[label], label, None, runs_of_counts(counts, found.width, found.height)
        )


_REGIONS: Mapping[str, Callable[[Found, Allowance], Iterator[FoundRegion]]] = MappingProxyType(
    {"instance": _instances, "semantic": _segments}
)
