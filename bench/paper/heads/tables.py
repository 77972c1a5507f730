"""Tables of what `python -m bench.paper measure` found."""

from __future__ import annotations

from typing import Any

from bench.markdown import table
from bench.paper.heads.measure import METRICS, OUTPUTS
from bench.paper.heads.variants import BIASED, LABELS
from bench.paper.report import number


def precision_table(precision: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the AP of masks and of boundaries, a row for each head and output."""
    header = ["head", "output", *(f"{kind} {m}" for kind in ("mask", "boundary") for m in METRICS)]
    rows = [
        [LABELS[name], str(output), *(number(value) for value in precision[name][str(output)].values())]
        for name in precision
        for output in OUTPUTS
    ]
    return table(header, rows)


def overlap_table(found: dict[str, Any]) -> str:
    """Return means by head, then the paired differences of PointRend (biased) to the baselines, ± standard error."""
    header = ["", *(f"{kind} IoU, {which}" for which in ("all", "large") for kind in ("mask", "boundary"))]
    heads, differences = found["heads"], found["differences"]
    counts = [str(heads[BIASED][which]["mask"]["count"]) for which in ("all", "large")]
    rows = [["instances", counts[0], counts[0], counts[1], counts[1]]]
    rows += [[LABELS[name], *_means(heads[name])] for name in heads]
    rows += [[f"{LABELS[BIASED]} − {LABELS[name]}", *_means(differences[name])] for name in differences]
    return table(header, rows)


def _means(found: dict[str, Any]) -> list[str]:
    cells = [found[which][kind] for which in ("all", "large") for kind in ("mask", "boundary")]
    return [f"{number(cell['mean'])} ± {number(cell['error'])}" for cell in cells]
