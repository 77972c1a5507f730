"""Figures of the measurements as small PNG files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no window, no global state

from bench.paper.adaptive import AUTO
from bench.paper.heads.measure import OUTPUTS
from bench.paper.heads.variants import BIASED, COARSE, CONV, LABELS, POINTREND

COLOURS = {
    COARSE: "#888888",
    CONV: "#d95f02",
    "grid": "#a6cee3",
    "uniform": "#66a0c8",
    BIASED: "#1f5fa8",
    "extreme": "#7b5ea7",
}
DPI = 110
TABLE_4_SIDE = "224"
Precision = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def draw(heads: Mapping[str, Any], adaptive: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every figure of what `measure` and `adaptive` wrote, and return the files."""
    figures = {
        "paper_resolution.png": resolution(heads["precision"]),
        "paper_points.png": training_points(heads["precision"]),
        "paper_adaptive.png": evaluated_points(adaptive["sides"]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=DPI)
    return [folder / name for name in figures]


def resolution(precision: Precision) -> Figure:
    """Plot mask AP and boundary AP against the output's side."""
    figure, axes = _panels(2)
    outputs = [str(output) for output in OUTPUTS]
    for axis, kind in zip(axes, ("mask", "boundary"), strict=True):
        for name in (COARSE, CONV, BIASED):
            values = [_value(precision[name][output][f"{kind}/AP"]) for output in outputs]
            axis.plot(outputs, values, marker="o", color=COLOURS[name], label=LABELS[name])
        axis.set(xlabel="side of the box mask", ylabel=f"{kind} AP")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return figure


def training_points(precision: Precision) -> Figure:
    """Plot PointRend by the choice of its training points, at the side of the paper's Table 4."""
    figure, axes = _panels(2)
    for axis, kind in zip(axes, ("mask", "boundary"), strict=True):
        values = [_value(precision[name][TABLE_4_SIDE][f"{kind}/AP"]) for name in POINTREND]
        bars = axis.bar(list(POINTREND), values, color=[COLOURS[name] for name in POINTREND])
        axis.bar_label(bars, fmt="%.3f", fontsize=8)
        axis.set(xlabel="training points", ylabel=f"{kind} AP, side {TABLE_4_SIDE}")
        axis.margins(y=0.12)
    return figure


def evaluated_points(sides: Mapping[str, Any]) -> Figure:
    """Plot the IoU of adaptive with dense masks by the share of points evaluated. A ring marks "auto"."""
    figure, axes = _panels(2)
    for axis, (key, label) in zip(axes, (("mean_iou", "mean"), ("worst_iou", "worst 1 %")), strict=True):
        for (side, entries), colour in zip(sides.items(), (COLOURS[BIASED], COLOURS[CONV]), strict=True):
            given = [entry for entry in entries if entry["points"] != AUTO]
            shares, ious = [e["share"] for e in given], [e[key] for e in given]
            axis.plot(shares, ious, marker="o", color=colour, label=f"side {side}")
            auto = [entry for entry in entries if entry["points"] == AUTO]
            axis.plot(
                [e["share"] for e in auto],
                [e[key] for e in auto],
                linestyle="none",
                marker="o",
                markersize=13,
                markerfacecolor="none",
                markeredgewidth=1.5,
                color=colour,
                label=f"auto, side {side}",
            )
        axis.set(xscale="log", xlabel="share of the cells evaluated", ylabel=f"mask IoU with dense, {label}")
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    return figure, [figure.add_subplot(1, count, i + 1) for i in range(count)]


def _value(value: float | None) -> float:
    return math.nan if value is None else value
