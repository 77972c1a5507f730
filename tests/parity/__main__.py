"""`python -m tests.parity`: every figure of docs/parity.md, measured now, as Markdown tables."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from export.bundle import open_bundle
from export.write import write_bundle
from model.checkpoints.eager import eager_predictor
from model.predict.predictor import Predictor
from tests.parity.figures import Figure
from tests.parity.goldens import load, load_any
from tests.parity.runs import KINDS

Columns = Mapping[str, list[Figure]]


def table(columns: Columns) -> str:
    """Return figures as rows, and recorded runs as columns."""
    rows = [f"| figure | bar | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for i, first in enumerate(next(iter(columns.values()))):
        bar = f"{'≥' if first.at_least else '≤'} {first.bar:g}"
        values = [f"{figures[i].value:.3g}{'' if figures[i].good else ' ✗'}" for figures in columns.values()]
        rows.append(f"| {first.what} | {bar} | {' | '.join(values)} |")
    return "\n".join(rows)


def tables(folder: Path) -> Iterator[tuple[str, Columns]]:
    """Yield each table with its title. Bundles are exported to `folder`."""
    for name, kind in KINDS.items():
        runs = {run: load(run) for run in kind.names}
        measured = {run: [f for stage in kind.stages for f in stage(golden)] for run, golden in runs.items()}
        yield f"Stages on recorded inputs, {name}", measured
        eager: dict[str, Predictor] = {
            golden.model: eager_predictor(load_any(golden.model)) for golden in runs.values()
        }
        yield (
            f"Whole chain, eager, {name}",
            {run: kind.chain(golden, eager[golden.model]) for run, golden in runs.items()},
        )
        for model in eager:
            write_bundle(load_any(model), folder / model, name=model, source={}, full_size=False)
        exported = {model: open_bundle(folder / model).predictor for model in eager}
        yield (
            f"Whole chain, exported bundle, {name}",
            {run: kind.chain(golden, exported[golden.model]) for run, golden in runs.items()},
        )


def main() -> int:
    """Print all tables. Return 1 if a figure does not meet its bar."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for title, columns in tables(Path(folder)):
            print(f"### {title}\n\n{table(columns)}\n", flush=True)
            bad += sum(not figure.good for figures in columns.values() for figure in figures)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
