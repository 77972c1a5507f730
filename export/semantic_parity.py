"""Is the semantic bundle the network? Both see the same images; the largest differences are the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.parity import report, trials
from model.predict.label_map import LabelMapOptions, LabelMapPredictor


@dataclass(frozen=True)
class SemanticTolerance:
    """What a float32 graph may differ by."""

    relative: float = 1e-3  # of a map's largest value
    equal: float = 0.995  # share of equal labels, which rounding may decide where two classes are as good


@dataclass(frozen=True)
class SemanticCase:
    """One compared batch."""

    images: int
    height: int
    width: int
    fine: float  # max abs difference of the projected fine map; 0 without a point head
    fine_largest: float  # the map's own max abs value
    coarse: float  # the same two of the coarse logits
    coarse_largest: float
    equal: float  # share of equal labels in maps of twice the images' size, the least of the batch

    def failures(self, allowed: SemanticTolerance) -> list[str]:
        """Which tolerances are broken, in words."""
        checks = (
            ("fine map", fine := self.fine / max(self.fine_largest, 1e-9), fine <= allowed.relative),
            ("coarse logits", off := self.coarse / max(self.coarse_largest, 1e-9), off <= allowed.relative),
            ("equal labels", self.equal, self.equal >= allowed.equal),
        )
        return [f"{name} {value:.4g}" for name, value, good in checks if not good]


def compare(
    eager: LabelMapPredictor, exported: LabelMapPredictor, images: Sequence[NDArray[np.uint8]]
) -> SemanticCase:
    """Run both on one batch (images of one size) and measure."""
    height, width = images[0].shape[:2]
    batch = [eager.prepare(image) for image in images]
    expected, found = eager.coarse(batch), exported.coarse(batch)
    fine, fine_largest = 0.0, 0.0
    if expected.fine is not None and found.fine is not None:
        fine = float((expected.fine - found.fine).abs().max())
        fine_largest = float(expected.fine.abs().max())
    shares = []
    for i, prepared in enumerate(batch):
        options = LabelMapOptions(resolution=2 * height)
        pair = [p.begin(c, i, prepared, options) for p, c in ((eager, expected), (exported, found))]
        eager.render(pair)
        one, other = (render.labels(2 * height, 2 * width) for render in pair)
        shares.append(float((one == other).mean()))
    return SemanticCase(
        len(images),
        height,
        width,
        fine,
        fine_largest,
        float((expected.coarse - found.coarse).abs().max()),
        float(expected.coarse.abs().max()),
        min(shares),
    )


def check(eager: LabelMapPredictor, exported: LabelMapPredictor, *, full_size: bool = True) -> dict[str, Any]:
    """The parity report of a bundle: batches of 1 and 3, several sizes, a picture of nothing.

    "passed" is False, and "failures" say why, where a difference is above `SemanticTolerance`.
    """
    allowed = SemanticTolerance()
    judged = []
    for batch, there in trials(eager.preprocessing, full_size):
        one, other = (dataclasses.replace(p, preprocessing=there) for p in (eager, exported))
        case = compare(one, other, batch)
        judged.append((case, case.failures(allowed)))
    return report(judged, allowed)


def table(report: dict[str, Any]) -> str:
    """The report as text for a person: max abs differences, each with the map's own largest value."""
    rows = [
        f"{c['images']}×{c['height']}×{c['width']}".rjust(14)
        + f" {c['fine']:8.1e} of {c['fine_largest']:<5.3g} {c['coarse']:8.1e} of {c['coarse_largest']:<5.3g}"
        + f" {c['equal']:12.4f}"
        for c in report["cases"]
    ]
    return "\n".join([f"{'batch':>14} {'fine map':>17} {'coarse logits':>17} {'equal labels':>12}", *rows])
