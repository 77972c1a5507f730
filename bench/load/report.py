"""Figures, tables and plots of the runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot: no window, no global state

from bench.load.driver import Run
from bench.markdown import table
from service.client.results import parse

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


def tables(folder: Path) -> str:
    """Return all measurements in `folder` as Markdown."""
    parts: list[str] = []
    rows: list[tuple[str, ...]]
    if found := _read(folder / "overhead.json"):
        engine, one, many = found["engine"], found["one"], found["sixteen"]
        rows = [
            ("engine alone, in a loop", f"{1000 * engine['p50']:.0f}", f"{engine['throughput']:.2f}", "1.00"),
            (
                "service, 1 client",
                f"{1000 * one['p50']:.0f}",
                f"{one['goodput']:.2f}",
                f"{one['goodput'] / engine['throughput']:.2f}",
            ),
            (
                "service, 16 clients",
                f"{1000 * many['p50']:.0f}",
                f"{many['goodput']:.2f}",
                f"{many['goodput'] / engine['throughput']:.2f}",
            ),
        ]
        parts.append(table(("", "p50, ms", "answers/s", "of the loop's"), rows))
        if more := found.get("beyond"):
            rows = [
                ("median", f"{1000 * more['median']:.1f}", f"{more['share']:.1%}"),
                ("95th percentile", f"{1000 * more['p95']:.1f}", f"{more['share_p95']:.1%}"),
            ]
            parts.append(table(("beyond the request's own stages, 1 client", "ms", "of them"), rows))
    if found := _read(folder / "peers.json"):
        rows = [
            (
                kind,
                load,
                f"{f['goodput']:.2f}",
                f"{1000 * f['p50']:.0f}",
                f"{1000 * f['p99']:.0f}",
                f"{f['cpu_per_answer']:.2f}",
                str(f["outcomes"]["left"]),
                str(f["outcomes"]["failed"]),
            )
            for kind, loads in found.items()
            for load, f in loads.items()
        ]
        parts.append(
            table(("", "", "answers/s", "p50, ms", "p99, ms", "CPU s/answer", "left", "failed"), rows)
        )
    if found := _read(folder / "overload.json"):
        peak = found["peak"]["goodput"]
        rows = [
            (
                f"{float(rate):.1f}",
                f"{float(rate) / peak:.1f} ×",
                f"{f['goodput']:.2f}",
                f"{f['goodput'] / peak:.2f}",
                f"{f['p50']:.2f}",
                f"{f['p99']:.2f}",
                str(f["outcomes"]["refused"]),
                str(f["outcomes"]["failed"]),
            )
            for rate, f in found["rates"].items()
        ]
        parts.append(
            table(
                (
                    "offered/s",
                    "of the peak",
                    "answers/s",
                    "of the peak",
                    "p50, s",
                    "p99, s",
                    "refused",
                    "failed",
                ),
                rows,
            )
        )
    if found := _read(folder / "soak.json"):
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
        first, last = (size / 1e6 for size in peaks(_loaded(found)))
        parts.append(
            f"{found['clients']} clients, {found['seconds']:.0f} s: {outcomes}. {found['masks_compared']} masks "
            f"compared with those of single requests, worst difference {found['worst_mask_difference']:.2%} of "
            f"the area. Memory: at most {first:.0f} MB in the first third, {last:.0f} MB in the last."
        )
        if left := found.get("left_in"):
            parts.append(table(("clients left in", "requests"), [(s, str(n)) for s, n in left.items()]))
    return "\n\n".join(parts)


def plots(folder: Path, out: Path) -> list[Path]:
    """Plot goodput and latency by offered load, and memory over the soak. Return the files."""
    made = []
    out.mkdir(parents=True, exist_ok=True)
    if found := _read(folder / "overload.json"):
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
    if found := _read(folder / "soak.json"):
        figure = Figure(figsize=(6, 2.6), layout="constrained")
        axes = figure.subplots()
        sizes = [size / 1e6 for _, size in _loaded(found)]
        axes.plot([t for t, _ in _loaded(found)], sizes)
        axes.set(xlabel="seconds", ylabel="resident memory, MB", ylim=(0, 1.2 * max(sizes)))
        made.append(_save(figure, out / "load_memory.png"))
    return made


def _loaded(soak: Json) -> list[tuple[float, float]]:
    """Return the memory by time while clients sent requests."""
    return [(t, size) for t, size in soak["memory"] if t <= soak["seconds"]]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    return path


def _read(path: Path) -> Json | None:
    return json.loads(path.read_text()) if path.is_file() else None
