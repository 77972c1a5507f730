"""The renderer: the adaptive subdivision loop of PointRend (paper section 3.1), once for every task.

A `Render` is one mask or label map in progress. The loop holds no network and knows no task: it takes any set of
renders one step further, whatever their images, levels and targets, with few calls of the point head. A step is a level
of subdivision, or a part of a level that has more points than a group may have. Between two steps renders may be added,
removed, or limited to a coarser target.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from model.pointrend.point_head import PointHead

# Points of one point-head call. A CPU is fastest while their features stay in its caches.
GROUP_POINTS = 8 * 784

MEMORY_SHARE = 0.25  # of an accelerator's free memory, for the features of one group

Cohort = Hashable


class Step(Protocol):
    """Renders of one cohort during one step, with the points at which they are evaluated."""

    @property
    def count(self) -> int:
        """The number of points, n. It may be 0."""
        ...

    def read(self, head: PointHead) -> Tensor:
        """Return the fine features [n, D] at the points."""
        ...

    def term(self, head: PointHead, layer: int) -> Tensor:
        """Return what the coarse prediction adds to a hidden layer at the points, after `read` (`PointHead.hidden`)."""
        ...

    def write(self, head: PointHead, hidden: Tensor) -> None:
        """Store the predictions made from the head's hidden features [n, D]; finish the level if it is complete."""
        ...


class Render(Protocol):
    """One mask or label map in progress. Sides are cells of a square mask, or the height of a label map."""

    @property
    def level(self) -> int:
        """The side of the finest finished level."""
        ...

    @property
    def target(self) -> int:
        """The side at which the render is done."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether the target was lowered by `limit`."""
        ...

    @property
    def done(self) -> bool: ...

    @property
    def memory(self) -> int:
        """Bytes that the predictions take at the target, the maps that are read not included."""
        ...

    def next_level(self, group_points: int = GROUP_POINTS) -> tuple[int, int]:
        """Return the side of the next level, and the work of the next step in points."""
        ...

    def limit(self, side: int) -> None:
        """Lower the target to `side`, but not below what is finished. A higher `side` changes nothing."""
        ...

    def cohort(self, group_points: int) -> Cohort:
        """Return a key. Renders with equal keys are advanced by the same tensor operations."""
        ...

    @staticmethod
    def share(renders: Sequence[Any]) -> None:
        """Let renders that will be advanced together read from common tensors, where that is worth a copy."""
        ...

    @staticmethod
    def search(cohort: Sequence[Any], group_points: int) -> Step:
        """Choose the points, at most `group_points`, at which the renders of one cohort are evaluated next."""
        ...


def points_that_fit(device: torch.device, dim: int) -> int:
    """Return the most points of one point-head call, if the head is `dim` wide: on an accelerator, by its free memory.

    A point takes four vectors of that width at once, and some 400 bytes for what it reads.
    """
    if device.type == "cpu":
        return GROUP_POINTS
    free, _ = torch.cuda.mem_get_info(device)
    return max(GROUP_POINTS, int(MEMORY_SHARE * free) // (16 * dim + 400))


def render(renders: Sequence[Render], head: PointHead, group_points: int = GROUP_POINTS) -> None:
    """Take every render to its target, group by group, so that the features of a group stay in the caches."""
    for group in _groups([r for r in renders if not r.done], group_points):
        while pending := [r for r in group if not r.done]:
            advance(pending, head, group_points)


@torch.inference_mode()
def advance(renders: Sequence[Render], head: PointHead, group_points: int = GROUP_POINTS) -> None:
    """Take each of the given renders one step further. None of them may be done.

    The points of a group of renders are evaluated in one call of the point head. A group has at most `group_points`
    points.
    """
    if renders:
        renders[0].share(renders)
    cohorts: dict[Cohort, list[Render]] = {}
    keys: dict[int, Cohort] = {}
    for r in renders:
        keys[id(r)] = key = r.cohort(group_points)
        cohorts.setdefault(key, []).append(r)
    for group in _groups(list(chain.from_iterable(cohorts.values())), group_points):
        members = [list(found) for _, found in groupby(group, key=lambda r: keys[id(r)])]
        evaluate([cohort[0].search(cohort, group_points) for cohort in members], head)


def evaluate(steps: Sequence[Step], head: PointHead) -> None:
    """Evaluate the point head at the points of all steps in one call, and store the predictions."""
    steps = [step for step in steps if step.count]
    if not steps:
        return
    fine = _joined([step.read(head) for step in steps])
    hidden = head.hidden(fine, lambda layer: _joined([step.term(head, layer) for step in steps]))
    for step, own in zip(steps, torch.split(hidden, [step.count for step in steps]), strict=True):
        step.write(head, own)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _groups(renders: Sequence[Render], group_points: int) -> Iterator[list[Render]]:
    """Yield runs of renders whose next steps together stay within `group_points`. A larger one is alone."""
    group: list[Render] = []
    total = 0
    for r in renders:
        work = r.next_level(group_points)[1]
        if group and total + work > group_points:
            yield group
            group, total = [], 0
        group.append(r)
        total += work
    if group:
        yield group
