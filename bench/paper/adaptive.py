"""How close adaptive rendering comes to evaluating every cell, by how many points it may evaluate (paper Table 3).

The loop is the same for instance masks and label maps; `adaptive_tasks.py` holds what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bench.markdown import table
from model.errors import UserError
from model.pointrend.point_head import PointHead
from model.predict.predictor import Pixels, Predictor

AUTO, DENSE = "auto", "dense"  # As many points as a request gets by default; every cell of the target.
Points = int | str  # per level


class Tally(Protocol):
    """Counts the agreement of one way to render with the dense render, over all images."""

    @property
    def compared(self) -> int:
        """How many masks or label maps were compared."""
        ...

    def add(self, found: Any, dense: Any, truth: Any, evaluated: int | None) -> None:
        """Count one image: what was found, the dense result, the truth, and the points evaluated (None: every cell)."""
        ...

    def result(self) -> dict[str, float]:
        """Return the share of cells that were evaluated, and the agreement. Raise UserError if nothing was found."""
        ...


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, the key of its values, their format, and a factor before they are printed."""

    title: str
    key: str
    format: str
    factor: float = 1


class CurveTask(Protocol):
    """What differs between instance masks and label maps."""

    @property
    def sides(self) -> Sequence[int]:
        """The sides of masks, or the heights of label maps as multiples of the image's own."""
        ...

    @property
    def points(self) -> Sequence[Points]: ...
    @property
    def unit(self) -> str:
        """What is compared, in the plural."""
        ...

    @property
    def side_title(self) -> str: ...
    @property
    def side_format(self) -> str: ...
    @property
    def columns(self) -> Sequence[Column]: ...

    def options(self, image: Pixels, side: int, points: int | None) -> Any:
        """Return the predictor's options for a side and a number of points (None: auto)."""
        ...

    def dense(self, begun: Any, head: PointHead) -> Any:
        """Return the result of evaluating every cell for a prediction that is begun."""
        ...

    def found(self, rendered: Any) -> Any:
        """Return the result of a prediction that is rendered."""
        ...

    def evaluated(self, rendered: Any) -> int:
        """Return how many points were evaluated for a prediction that is rendered."""
        ...

    def tally(self) -> Tally:
        """Return a tally of nothing."""
        ...


@torch.inference_mode()
def compare(
    predictor: Predictor, examples: Iterable[tuple[Pixels, Any]], task: CurveTask
) -> dict[tuple[int, Points], Tally]:
    """Render each example (image, truth) at every side with every number of points, and tally the agreement.

    Raises UserError if the predictor has no point head.
    """
    head = predictor.head
    if head is None:
        raise UserError("the checkpoint has no point head: there is nothing to render adaptively")
    tallies = {(side, points): task.tally() for side in task.sides for points in task.points}
    for image, truth in examples:
        prepared = predictor.prepare(image, task.options(image, task.sides[0], None))
        coarse = predictor.coarse([prepared])
        for side in task.sides:
            dense = task.dense(predictor.begin(coarse, 0, prepared, task.options(image, side, None)), head)
            for points in task.points:
                if points == DENSE:
                    tallies[side, points].add(dense, dense, truth, None)
                    continue
                options = task.options(image, side, points if isinstance(points, int) else None)
                prediction = predictor.begin(coarse, 0, prepared, options)
                predictor.render([prediction])
                found = task.found(prediction)
                tallies[side, points].add(found, dense, truth, task.evaluated(prediction))
    return tallies


def curves(predictor: Predictor, examples: Iterable[tuple[Pixels, Any]], task: CurveTask) -> dict[str, Any]:
    """Return the agreement, ready for JSON: how much was compared, and "sides": {side: [entry, …]}.

    Raises UserError if the predictor has no point head, or nothing is found.
    """
    tallies = compare(predictor, examples, task)
    sides = {
        str(side): [{"points": points, **tallies[side, points].result()} for points in task.points]
        for side in task.sides
    }
    return {task.unit: tallies[task.sides[0], task.points[0]].compared, "sides": sides}


def agreement_table(found: Mapping[str, Any], task: CurveTask) -> str:
    """Return a row for each side and number of points."""
    rows = [
        [
            task.side_format.format(side),
            str(entry["points"]),
            *(format(c.factor * entry[c.key], c.format) for c in task.columns),
        ]
        for side, entries in found["sides"].items()
        for entry in entries
    ]
    return table([task.side_title, "points a level", *(column.title for column in task.columns)], rows)
