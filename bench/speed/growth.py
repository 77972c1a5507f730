"""`python -m bench.speed.growth`: how time and memory of the renderer grow with instances, sides, classes and images.

Each series is fitted by a power: an exponent of 1 means that twice as much takes twice as long. Memory is measured in
processes of their own, because a peak cannot be measured twice; that needs Linux.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure  # without pyplot: no window, no global state

from bench.markdown import table
from bench.speed.row import in_turns
from bench.speed.scene import scene
from bench.speed.table import PRECISIONS
from export.execution import has_bf16
from model.command_line import one_line_errors
from model.masks.paste import pasting
from model.masks.runs import pasted
from model.pointrend.levels import SIDES, total_points
from model.pointrend.render import render
from service.machine import available

INSTANCES = (1, 3, 10, 30, 100)
IMAGE_SIDES = (1000, 2000, 4000, 8000)  # of square images in which a mask fills half of each side
RENDERED = 10  # instances, where another thing grows
DPI = 110


@dataclass(frozen=True)
class Series:
    """Seconds of a piece of work for several amounts of something."""

    what: str
    of: str  # what grows
    amounts: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Series:
        """Return a series as it was written to JSON."""
        return cls(written["what"], written["of"], tuple(written["amounts"]), tuple(written["seconds"]))

    @property
    def exponent(self) -> float:
        """The exponent of the power that fits best."""
        slope, _ = np.polyfit(np.log(self.amounts), np.log(self.seconds), 1)
        return float(slope)


def measured(what: str, of: str, works: Sequence[tuple[float, Callable[[], object]]]) -> Series:
    """Measure works for growing amounts, in turns."""
    found = in_turns({str(amount): work for amount, work in works}, 3)
    return Series(what, of, tuple(amount for amount, _ in works), tuple(found.values()))


def series(count: int | None = None) -> list[Series]:
    """Measure the first amounts (None: all) of each series, in the precision in which masks are served."""
    precision = PRECISIONS["bf16" if has_bf16() else "fp32"]
    instances = INSTANCES[:count]
    everything = scene(max(instances))
    some = everything.first(RENDERED)

    def of(count: int) -> Callable[[], object]:
        return lambda: everything.first(count).render(precision)

    def at(side: int) -> Callable[[], object]:
        return lambda: some.render(precision, side, None)

    y, x = np.mgrid[0:224, 0:224] / 224 - 0.5
    disc = (1 / (1 + np.exp(40 * (np.hypot(x, y) - 0.4)))).astype(np.float32)

    def pasting_in(side: int) -> Callable[[], object]:
        box = (side / 4, side / 4, side * 3 / 4, side * 3 / 4)
        return lambda: pasted(pasting(disc, box, side, side))

    sides = [side for side in SIDES if side >= 56][:count]
    return [
        measured("render at 224×224", "instances", [(count, of(count)) for count in instances]),
        measured(f"render {RENDERED} masks, auto", "side", [(side, at(side)) for side in sides]),
        measured(
            "paste a mask and find its runs",
            "side of the image",
            [(s, pasting_in(s)) for s in IMAGE_SIDES[:count]],
        ),
    ]


def peak(way: str, regions: int) -> float:
    """Return the MB that rendering takes at most, beyond what is there before: features, and their projections."""
    own = scene(regions)
    begun = own.begun()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident set is counted anew
    if way == "plain":
        own.plain()
    else:
        render(begun, own.head)
    return _resident("VmHWM") - before


def peak_alone(way: str, regions: int) -> float:
    """Return `peak` from a process of its own."""
    command = [sys.executable, "-m", "bench.speed.growth", "--peak", way, "--regions", str(regions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return float(done.stdout)


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def draw(found: Sequence[Series], path: Path) -> None:
    """Draw all series, each over its own amounts, on logarithmic axes."""
    figure = Figure(figsize=(4 * len(found), 3.2), layout="constrained")
    for number, each in enumerate(found, start=1):
        axes = figure.add_subplot(1, len(found), number)
        axes.loglog(each.amounts, [1000 * s for s in each.seconds], "o-", color="#1f5fa8")
        axes.set_xlabel(each.of)
        axes.set_ylabel("ms")
        axes.set_title(f"{each.what}: exponent {each.exponent:.2f}", fontsize=9)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def report(found: Sequence[Series], memory: dict[str, float]) -> str:
    """Return the tables of the exponents and of the memory."""
    rows = [
        (
            each.what,
            each.of,
            ", ".join(f"{amount:g}" for amount in each.amounts),
            ", ".join(f"{1000 * s:.1f}" for s in each.seconds),
            f"{each.exponent:.2f}",
        )
        for each in found
    ]
    lines = table(("work", "grows with", "amounts", "ms", "exponent"), rows)
    ratio = memory["ours"] / memory["plain"]
    return (
        f"{lines}\n\nRendering {memory['masks']:.0f} masks takes {memory['ours']:.0f} MB beyond the features, the "
        f"plain loop {memory['plain']:.0f} MB: {ratio:.3f} of it."
    )


def main(
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file to draw.")] = None,
    masks: Annotated[int, typer.Option(min=1, help="How many are rendered to measure memory.")] = 100,
    way: Annotated[str | None, typer.Option("--peak", hidden=True)] = None,
    regions: Annotated[int, typer.Option(hidden=True)] = 100,
    amounts: Annotated[
        int | None, typer.Option(min=2, help="How many of each series; all unless set.")
    ] = None,
) -> None:
    """Print how time grows, and how much memory rendering takes. Nothing else should run meanwhile."""
    torch.set_num_threads(available())
    if way is not None:
        print(peak(way, regions))
        return
    found = series(amounts)
    memory = {"masks": masks, **{each: peak_alone(each, masks) for each in ("ours", "plain")}}
    print(report(found, memory))
    if plot is not None:
        draw(found, plot)
    if out is not None:
        content: dict[str, Any] = {
            "series": [{**asdict(each), "exponent": each.exponent} for each in found],
            "points": {str(side): total_points(side, None) for side in SIDES},
            "memory_mb": memory,
        }
        out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
