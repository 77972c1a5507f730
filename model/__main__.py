"""Command line: `python -m model train`, `evaluate`, `label` and `calibrate`.

Errors end as model/command_line.py says: in one line, with the traceback of a bug kept in a file.
"""

from __future__ import annotations

import typer

from model.cli.calibrate import calibrate
from model.cli.evaluate import evaluate
from model.cli.label import label
from model.cli.train import train
from model.command_line import one_line_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (train, evaluate, label, calibrate):
    app.command()(command)

if __name__ == "__main__":
    with one_line_errors():
        app()
