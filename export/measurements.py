"""What a comparison of a graph with its network measures, and the report of it: one form for all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

# A difference may be this share of the largest value of its stage. Rounding was at most 1e-5 of it in the models of
# tests/golden and 3e-6 in small networks of every preset with random weights; mistakes are far above.
TOLERANCE = 1e-4
# Of all choices, graph and network must share at least this part. Both decide on the same numbers, so at most one
# choice in a thousand was another one, or five where most scores are exactly 1. Graphs with another threshold of NMS
# mostly shared 65 to 95 %.
LEAST_SHARED = 0.97
_FEW = 4  # choices that only one side made never fail: where little is found, one near-tie is a large share
_SAME_OBJECT = 0.5  # IoU above which two boxes of one class count as the same choice
_TINY = 1e-6  # stages whose largest value is below this are compared with it

Report = dict[str, Any]


class Measurements:
    """The worst difference of each stage, and the number of shared choices of each selection, over all pictures."""

    def __init__(self) -> None:
        self._worst: dict[str, tuple[float, float, float]] = {}  # relative, difference, scale
        self._choices: dict[str, list[int]] = {}  # all, shared

    def compare(self, stage: str, expected: Tensor, found: Tensor) -> None:
        """Measure how far what the graph found is from what the network gives: the largest absolute difference."""
        if expected.shape != found.shape:
            difference, scale = float("inf"), 0.0
        elif expected.numel():
            difference, scale = float((expected - found).abs().max()), float(expected.abs().max())
        else:
            difference, scale = 0.0, 0.0
        relative = difference / max(scale, _TINY)
        if relative != relative:  # NaN is worse than any number
            relative = float("inf")
        known = self._worst.get(stage)
        # Of equal differences, one of values that are there counts more than one of an empty tensor.
        if known is None or (relative, scale > 0) > (known[0], known[2] > 0):
            self._worst[stage] = (relative, difference, scale)

    def compare_all(self, stage: str, expected: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """Measure several tensors of one stage, each in relation to its own values."""
        for one, other in zip(expected, found, strict=True):
            self.compare(stage, one, other)

    def choices(self, selection: str, chosen: int, shared: int) -> None:
        """Count choices of both sides together, and those of them that both made."""
        counts = self._choices.setdefault(selection, [0, 0])
        counts[0] += chosen
        counts[1] += shared

    def boxes(self, selection: str, expected: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> None:
        """Count the boxes [N, 4] that both sides chose; boxes of different groups [N] are never the same."""
        same = expected[1][:, None] == found[1]
        iou = torch.where(same, box_iou(expected[0], found[0]), torch.zeros(()))
        matched = 0
        if iou.numel():
            best, back = iou.argmax(1), iou.argmax(0)
            own = torch.arange(len(iou))
            matched = int(((back[best] == own) & (iou[own, best] > _SAME_OBJECT)).sum())
        self.choices(selection, len(expected[0]) + len(found[0]), 2 * matched)

    def report(self, problems: Sequence[str] = ()) -> Report:
        """Return the JSON-ready report: "passed", and "failures" that say why not, with `problems` among them.

        "stages" has for each stage the difference, the scale (the largest value of the network) and the tolerance, all
        in the stage's own unit, of the tensor that was worst in relation to its scale. "selection" has for each
        selection how many choices there were, which share both sides made, and the least share that passes.
        """
        stages = {
            stage: {"difference": difference, "scale": scale, "tolerance": TOLERANCE * max(scale, _TINY)}
            for stage, (_, difference, scale) in self._worst.items()
        }
        selection = {
            name: {
                "chosen": chosen,
                "shared": shared / chosen if chosen else 1.0,
                "least": LEAST_SHARED,
            }
            for name, (chosen, shared) in self._choices.items()
        }
        failures = [
            f"{stage} {row['difference']:.4g} of {row['scale']:.4g}"
            for stage, row in stages.items()
            if not row["difference"] <= row["tolerance"]
        ]
        failures += [
            f"{name}: only {row['shared']:.1%} of {row['chosen']} choices are shared"
            for name, row in selection.items()
            if (1 - row["shared"]) * row["chosen"] > max(_FEW, (1 - row["least"]) * row["chosen"]) + 1e-6
        ]
        failures += problems
        return {"passed": not failures, "failures": failures, "stages": stages, "selection": selection}


def table(report: Mapping[str, Any]) -> str:
    """Return the report as text for a person."""
    rows = [f"{'stage':<20} {'difference':>10} {'of largest':>10} {'tolerance':>10}"]
    rows += [
        f"{stage:<20} {row['difference']:>10.1e} {row['scale']:>10.3g} {row['tolerance']:>10.1e}"
        for stage, row in report["stages"].items()
    ]
    rows.append(f"{'selection':<20} {'choices':>10} {'shared':>10} {'at least':>10}")
    rows += [
        f"{name:<20} {row['chosen']:>10} {row['shared']:>10.2%} {row['least']:>10.0%}"
        for name, row in report["selection"].items()
    ]
    return "\n".join(rows)
