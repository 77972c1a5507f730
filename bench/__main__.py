"""`python -m bench`: the table of docs/speed.md, measured now."""

from __future__ import annotations

import typer

from bench.speed.table import main
from model.command_line import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
