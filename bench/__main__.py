"""`python -m bench`: the table of docs/speed.md, measured now."""

from __future__ import annotations

import typer

from bench.speed.table import main

if __name__ == "__main__":
    typer.run(main)
