"""The commands of `python -m model`, and how they end."""

from __future__ import annotations

import typer

from model.cli.calibrate import calibrate
from model.cli.evaluate import evaluate
from model.cli.label import label
from model.cli.train import train
from model.command_line import one_line_errors
from model.training.errors import LossNotFinite

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (train, evaluate, label, calibrate):
    app.command()(command)


def run() -> None:
    """Run the command that was given, and end as model/command_line.py says."""
    with one_line_errors(LossNotFinite):
        app()
