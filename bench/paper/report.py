"""Measurements as JSON files and as markdown tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.paper.cost import POINTS, SIDE, Costs
from bench.paper.heads import BIASED, LABELS
from bench.paper.measure import METRICS, OUTPUTS


def write(path: Path, data: Any) -> None:
    """NaN (not measured) becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_nulled(data), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path, *keys: str) -> dict[str, Any]:
    """What `write` wrote. Raises ValueError if it is no JSON or has not the given keys, OSError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict) or (missing := [key for key in keys if key not in data]):
        raise ValueError(f"{path} is not a file of `python -m bench.paper`: it lacks {', '.join(missing)}")
    return data


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def precision_tables(precision: dict[str, dict[str, dict[str, float]]]) -> str:
    """AP of masks and of boundaries: a row for each head and output."""
    header = ["head", "output", *(f"{kind} {m}" for kind in ("mask", "boundary") for m in METRICS)]
    return table(
        header,
        [
            [LABELS[name], str(output), *(_number(value) for value in precision[name][str(output)].values())]
            for name in precision
            for output in OUTPUTS
        ],
    )


def overlap_tables(found: dict[str, Any]) -> str:
    """Means by head, then the paired differences of PointRend (biased) to the baselines; ± standard error."""
    header = ["", *(f"{kind} IoU, {which}" for which in ("all", "large") for kind in ("mask", "boundary"))]
    heads, differences = found["heads"], found["differences"]
    counts = [str(heads[BIASED][which]["mask"]["count"]) for which in ("all", "large")]
    rows = [["instances", counts[0], counts[0], counts[1], counts[1]]]
    rows += [[LABELS[name], *_means(heads[name])] for name in heads]
    rows += [[f"{LABELS[BIASED]} − {LABELS[name]}", *_means(differences[name])] for name in differences]
    return table(header, rows)


def _means(found: dict[str, Any]) -> list[str]:
    cells = [found[which][kind] for which in ("all", "large") for kind in ("mask", "boundary")]
    return [f"{_number(cell['mean'])} ± {_number(cell['error'])}" for cell in cells]


def cost_table(costs: Costs) -> str:
    """In millions, beside the published figures."""
    rows = (
        ("4×conv, 28×28", costs.conv, "0.5 B, 0.5 M"),
        (f"4×conv, {SIDE}×{SIDE}", costs.fine_conv, "34 B, 33 M"),
        (f"PointRend as published, {SIDE}×{SIDE}", costs.published, "0.9 B, 0.7 M"),
        ("– of this the coarse head", costs.coarse, "–"),
        (f"– of this the coarse head and one level of {POINTS} points", costs.level, "–"),
        (f"PointRend, ours, {SIDE}×{SIDE}", costs.ours, "–"),
        ("– beside it, once an image: the projection of P2", costs.projection, "–"),
    )
    counts = table(
        ["", "multiply-accumulates", "activations", "paper, Table 2"],
        [
            [what, f"{work.multiplies / 1e6:,.1f} M", f"{work.activations / 1e6:,.2f} M", published]
            for what, work, published in rows
        ],
    )
    return (
        f"{counts}\n\nAs published, PointRend's {SIDE}×{SIDE} mask takes {costs.share:.1%} of 4×conv's "
        f"multiply-accumulates. Ours has fewer than the published way from {costs.pays_from} instances an image on."
    )


def adaptive_table(found: dict[str, Any]) -> str:
    """A row for each side and number of points."""
    header = [
        "side",
        "points a level",
        "share of points",
        "mean IoU",
        "IoU of the worst 1 %",
        "cells that differ",
    ]
    return table(
        header,
        [
            [
                side,
                "auto" if entry["points"] is None else str(entry["points"]),
                f"{entry['share']:.1%}",
                f"{entry['mean_iou']:.4f}",
                f"{entry['worst_iou']:.4f}",
                f"{entry['differing']:.3%}",
            ]
            for side, entries in found["sides"].items()
            for entry in entries
        ],
    )


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _nulled(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _nulled(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_nulled(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data
