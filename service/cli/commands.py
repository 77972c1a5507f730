"""The commands of `python -m service`, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.errors import expected_errors, needs_client
from service.cli.options import Score
from service.cli.segment import segment
from service.cli.serve import EPILOG, serve

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.command(epilog=EPILOG)(serve)
app.command()(segment)


@app.command()
def demo(
    bundle: Annotated[
        list[Path], typer.Option(help="Folder of an exported model; repeat for several. The first is asked.")
    ],
    image: Annotated[Path, typer.Option(help="An image.")],
    out: Annotated[Path, typer.Option(help="Folder for masks.json and overlay.png.")],
    score: Score = 0.5,
) -> None:
    """Start a server, send it an image, show what comes back."""
    with expected_errors():
        with needs_client():
            from service.cli.demo import run
        run(bundle, image, out, score)
