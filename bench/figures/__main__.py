"""Command line `python -m bench.figures`: measure all figures of README and docs, and write them there.

Each step is a command of its own, which the docs name beside its figures. Nothing else should run on the machine
meanwhile. The steps write JSON files below docs/. The texts between the marks in the pages are made of these files, so
no figure is typed by hand.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bench.figures.pages import names, rewritten
from bench.figures.texts import PICTURE, texts
from model.command_line import one_line_errors
from model.errors import UserError

PAGES = (Path("README.md"), Path("docs/load.md"), Path("docs/scale.md"), Path("docs/speed.md"))
QUICK = Path("out/figures")  # where a quick run writes, instead of docs/


@dataclass(frozen=True)
class FigureStep:
    """One command, what it adds for a quick run, and a package that it needs of an extra."""

    command: tuple[str, ...]
    quick: tuple[str, ...]
    package: str | None = None


def steps(docs: Path) -> tuple[FigureStep, ...]:
    """Return all commands, which write below `docs`."""
    load = ("--out", str(docs / "load"))
    plot = docs / "images" / "speed_growth.png"
    growth = ("--out", str(docs / "speed_growth.json"), "--plot", str(plot))
    scale = ("--bundle", "bundles/people", "--image", str(PICTURE), "--out", str(docs / "scale.json"))
    return (
        FigureStep(("bench", "--out", str(docs / "speed.json")), ("--masks", "10", "--no-large")),
        FigureStep(("bench.speed.growth", *growth), ("--masks", "2", "--amounts", "2")),
        FigureStep(("bench.load", "overhead", *load), ("--seconds", "1", "--rounds", "1")),
        FigureStep(("bench.load", "peers", *load), ("--seconds", "2", "--rounds", "1"), "litserve"),
        FigureStep(("bench.load", "overload", "--seconds", "20", *load), ("--seconds", "2")),
        FigureStep(("bench.load", "burst", *load), ("--pictures", "80")),
        FigureStep(("bench.load", "soak", "--seconds", "180", *load), ("--seconds", "5")),
        FigureStep(("bench.load", "plot", *load, "--figures", str(docs / "images")), ()),
        FigureStep(("bench.scale", *scale, "--requests", "45"), ("--requests", "9"), "ray"),
    )


def main(
    quick: Annotated[
        bool,
        typer.Option(
            help=f"A few seconds for each step, into {QUICK}: whether it works, not how fast it is."
        ),
    ] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="A package whose steps are left out: litserve, ray.")
    ] = None,
    pages_only: Annotated[bool, typer.Option(help="Measure nothing, write the pages.")] = False,
) -> None:
    """Measure all figures of README and docs, and write them there."""
    root = QUICK if quick else Path()
    docs = root / "docs"
    chosen = [] if pages_only else [each for each in steps(docs) if each.package not in (without or ())]
    if missing := sorted({each.package for each in chosen if each.package and not _there(each.package)}):
        left = " ".join(f"--without {name}" for name in missing)
        raise UserError(f"{' and '.join(missing)} not installed: pip install -e '.[load,ray]', or {left}")
    for number, step in enumerate(chosen, 1):
        command = [*step.command, *(step.quick if quick else ())]
        print(f"[{number}/{len(chosen)}] python -m {' '.join(command)}", flush=True)
        begin = time.monotonic()
        if subprocess.run([sys.executable, "-m", *command]).returncode:
            raise UserError(
                f"python -m {' '.join(command)} failed (see above); what it measures stays as it was"
            )
        print(f"[{number}/{len(chosen)}] done in {time.monotonic() - begin:.0f} s", flush=True)
    found = texts(docs)
    for page in PAGES:
        if quick:
            (root / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(page, root / page)
        old = (root / page).read_text()
        (root / page).write_text(rewritten(old, found))
        print(f"{root / page}: {', '.join(name for name in names(old) if name in found)}")


def _there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
