"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Device = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="auto unless set.")]
Threads = Annotated[int | None, typer.Option(min=0, help="0: as many as this process may use.")]
Score = Annotated[float, typer.Option(help="Least score of a detection.")]
