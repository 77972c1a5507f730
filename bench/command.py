"""What the commands of bench/ have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer


def run(main: typer.Typer | Callable[..., None]) -> None:
    """Run a command line. A mistake of its user ends it with one line; other exceptions keep their traceback."""
    try:
        main() if isinstance(main, typer.Typer) else typer.run(main)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
