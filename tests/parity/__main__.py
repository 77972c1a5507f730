"""`python -m tests.parity`: every figure of docs/parity.md, measured now, as Markdown tables."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from export.bundle import open_bundle
from export.write import write_bundle
from model.checkpoints.eager import eager_predictor
from model.checkpoints.semantic_eager import eager_semantic
from tests.parity import semantic
from tests.parity.goldens import ALL, SEMANTIC, load, load_checkpoint
from tests.parity.measures import STAGES, Figure, chain


def table(columns: dict[str, list[Figure]]) -> str:
    """Figures as rows, recorded runs as columns."""
    rows = [f"| figure | bar | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for i, first in enumerate(next(iter(columns.values()))):
        bar = f"{'≥' if first.at_least else '≤'} {first.bar:g}"
        values = [f"{figures[i].value:.3g}{'' if figures[i].good else ' ✗'}" for figures in columns.values()]
        rows.append(f"| {first.what} | {bar} | {' | '.join(values)} |")
    return "\n".join(rows)


def semantic_tables(folder: Path) -> list[tuple[str, dict[str, list[Figure]]]]:
    """Stages and chain of the semantic network."""
    golden = load(SEMANTIC)
    write_bundle(golden.semantic, folder / "semantic", name="tiny_semantic", source={}, full_size=False)
    stages = [figure for stage in semantic.STAGES for figure in stage(golden)]
    eager = semantic.chain(golden, eager_semantic(golden.semantic))
    exported = semantic.chain(golden, open_bundle(folder / "semantic").predictor)
    return [
        ("Stages on recorded inputs, semantic", {SEMANTIC: stages}),
        ("Whole chain, semantic", {"eager": eager, "exported bundle": exported}),
    ]


def main() -> int:
    tables: list[tuple[str, dict[str, list[Figure]]]] = []
    for kind, stages in STAGES.items():
        names = [name for name in ALL if ("conv" in name) == (kind == "conv")]
        found = {name: [f for stage in stages for f in stage(load(name))] for name in names}
        tables.append((f"Stages on recorded inputs, {kind} head", found))
    eager = {name: chain(load(name), eager_predictor(load(name).checkpoint)) for name in ALL}
    tables.append(("Whole chain, eager", eager))
    with tempfile.TemporaryDirectory() as folder:
        models = sorted({name.rsplit("_", 1)[0] for name in ALL})
        for model in models:
            write_bundle(load_checkpoint(model), Path(folder) / model, name=model, source={}, full_size=False)
        bundles = {model: open_bundle(Path(folder) / model).predictor for model in models}
        exported = {name: chain(load(name), bundles[name.rsplit("_", 1)[0]]) for name in ALL}
        tables.append(("Whole chain, exported bundle", exported))
        tables += semantic_tables(Path(folder))
    for title, columns in tables:
        print(f"### {title}\n\n{table(columns)}\n")
    return int(any(not f.good for _, columns in tables for figures in columns.values() for f in figures))


if __name__ == "__main__":
    sys.exit(main())
