"""Figures and plots of the runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot: no window, no global state

from bench.load.driver import Run
from pointrend_client.results import parse

Json = dict[str, Any]


def figures(run: Run) -> Json:
    """Return the figures of a run."""
    good = run.count("ok")
    return {
        "seconds": run.seconds,
        "outcomes": {o: run.count(o) for o in ("ok", "refused", "late", "left", "failed")},
        "goodput": run.goodput,
        "p50": run.latency(50),
        "p99": run.latency(99),
        "cpu_per_answer": run.cpu / good if run.cpu and good else None,
        "retry_after": sorted({a.note for a in run.answers if a.outcome == "refused"}),
    }


def beyond(run: Run) -> Json:
    """Return what good answers took beyond their own stages, in seconds and as a share of these.

    That is network, HTTP, hand-overs between threads, and the queue. Both parts are of the same request, so a machine
    whose speed changes from minute to minute does not change the comparison.
    """
    pairs = [(a.seconds - a.engine, a.engine) for a in run.answers if a.outcome == "ok"]
    added = [more for more, _ in pairs]
    shares = [more / engine for more, engine in pairs]
    return {
        "median": float(np.median(added)),
        "p95": float(np.percentile(added, 95)),
        "share": float(np.median(shares)),
        "share_p95": float(np.percentile(shares, 95)),
    }


def peaks(memory: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the largest size in the first third and in the last third, bytes."""
    sizes = [size for _, size in memory]
    third = max(1, len(sizes) // 3)
    return max(sizes[:third]), max(sizes[-third:])


def differ(answer: bytes, expected: bytes) -> tuple[float, int]:
    """Return the largest share of pixels in which a mask differs from the expected one, and the number of masks.

    The share is of the mask's area. It is 1 if the instances differ in number or class.
    """
    one, other = parse(json.loads(answer)), parse(json.loads(expected))
    if [i.category for i in one.instances] != [i.category for i in other.instances]:
        return 1.0, len(one.instances)
    shares = [
        (a.mask != b.mask).sum() / max(b.area, 1) for a, b in zip(one.instances, other.instances, strict=True)
    ]
    return float(max(shares, default=0.0)), len(shares)


def plots(folder: Path, out: Path) -> list[Path]:
    """Plot goodput and latency by offered load, and memory over the soak. Return the files."""
    made = []
    out.mkdir(parents=True, exist_ok=True)
    if found := read(folder / "overload.json"):
        peak = found["peak"]["goodput"]
        offered = [float(rate) for rate in found["rates"]]
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(offered, [f["goodput"] for f in found["rates"].values()], "o-")
        left.plot(offered, [min(o, peak) for o in offered], ":", color="grey", label="ideal")
        left.set(xlabel="requests offered per second", ylabel="good answers per second", ylim=(0, None))
        left.legend(frameon=False)
        right.plot(offered, [f["p50"] for f in found["rates"].values()], "o-", label="median")
        right.plot(offered, [f["p99"] for f in found["rates"].values()], "o-", label="99th percentile")
        right.axhline(found["queue_seconds"], linestyle=":", color="grey", label="queue_seconds")
        right.set(xlabel="requests offered per second", ylabel="latency of good answers, s", ylim=(0, None))
        right.legend(frameon=False)
        made.append(_save(figure, out / "load_overload.png"))
    if found := read(folder / "soak.json"):
        figure = Figure(figsize=(6, 2.6), layout="constrained")
        axes = figure.subplots()
        sizes = [size / 1e6 for _, size in loaded(found)]
        axes.plot([t for t, _ in loaded(found)], sizes)
        axes.set(xlabel="seconds", ylabel="resident memory, MB", ylim=(0, 1.2 * max(sizes)))
        made.append(_save(figure, out / "load_memory.png"))
    return made


def loaded(soak: Json) -> list[tuple[float, float]]:
    """Return the memory by time while clients sent requests."""
    return [(t, size) for t, size in soak["memory"] if t <= soak["seconds"]]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    return path


def read(path: Path) -> Json | None:
    """Return a file that a measurement wrote, or None if there is none."""
    return json.loads(path.read_text()) if path.is_file() else None
