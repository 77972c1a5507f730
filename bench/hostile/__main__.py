"""Command line `python -m bench.hostile`: attack a service, and print what each attack does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.hostile.attack import ATTACKS, Harm, measure
from bench.markdown import table
from model.command_line import one_line_errors
from model.errors import UserError

PICTURE = Path("examples/astronaut.jpg")
BUNDLES = (Path("bundles/people"), Path("bundles/street"))
HEADER = (
    "attack",
    "alive",
    "peak GB",
    "small alone ms",
    "meanwhile ms",
    "times",
    "health s",
    "refused",
    "failed",
)


def row(harm: Harm) -> list[str]:
    """Return a line of the table."""
    return [
        harm.name,
        ("yes" if harm.alive else "no") + (f", {harm.kills} killed" if harm.kills else ""),
        f"{harm.peak / 1e9:.2f}",
        f"{1000 * harm.alone:.0f}",
        f"{1000 * harm.meanwhile:.0f}",
        f"{harm.ratio:.1f}",
        f"{harm.health:.2f}",
        str(harm.refused),
        str(harm.failed),
        f"{harm.goodput:.2f}",
        harm.report,
    ]


def main(
    attack: Annotated[list[str] | None, typer.Option(help="Which attacks; all if absent.")] = None,
    bundle: Annotated[list[Path] | None, typer.Option(help="Bundles to serve.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Duration of each attack.")] = 15,
    picture: Annotated[Path, typer.Option(help="What the other clients send.")] = PICTURE,
    code: Annotated[Path | None, typer.Option(help="Folder of the code to attack.")] = None,
) -> None:
    """Attack a service that may use 4 GB, and print what other clients see of it."""
    known = {each.name: each for each in ATTACKS}
    if wrong := sorted(set(attack or ()) - set(known)):
        raise UserError(f"there is no attack {wrong[0]!r}; there are: {', '.join(known)}")
    rows = []
    for name in attack or known:
        rows.append(row(measure(known[name], bundle or BUNDLES, picture, seconds, code)))
        typer.echo(" | ".join(rows[-1]), err=True)
    typer.echo(table((*HEADER, "goodput", "what the attackers saw"), rows))


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
