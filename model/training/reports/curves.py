"""A training run as a picture: losses, accuracy and learning rate over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.training.reports.log import read_lines

_NO_LOSS = ("step", "lr", "images_per_second")


def draw_curves(out: Path, headline: Sequence[str]) -> None:
    """Write `out/curves.png` from `out/log.jsonl` and, where there is one, the headline of `out/validation.jsonl`."""
    log, measured = read_lines(out / "log.jsonl"), read_lines(out / "validation.jsonl")
    # Without pyplot: it keeps figures, and wants a display.
    figure = Figure(figsize=(15, 4), layout="constrained")
    losses, accuracy, rate = figure.subplots(1, 3)
    steps = [line["step"] for line in log]
    names = [name for name in (log[-1] if log else {}) if name not in _NO_LOSS]
    for name in names:
        losses.plot(steps, [line.get(name) for line in log], ".-", label=name)
    for name in headline:
        known = [(line["step"], line[name]) for line in measured if line.get(name) is not None]
        if known:
            accuracy.plot([step for step, _ in known], [value for _, value in known], ".-", label=name)
    rate.plot(steps, [line["lr"] for line in log], ".-")
    titles = {"losses, running means": losses, "on the validation data": accuracy, "learning rate": rate}
    for title, axes in titles.items():
        axes.set(title=title, xlabel="step", xlim=(0, None), ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    if names:
        losses.legend(fontsize=8)
    if measured:
        accuracy.legend(fontsize=8)
    else:
        accuracy.text(0.5, 0.5, "not measured: no --val-data", ha="center", transform=accuracy.transAxes)
    figure.savefig(out / "curves.png", dpi=80)
