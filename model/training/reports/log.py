"""Files of a training run that hold one JSON object a line, each of a step: the log and the validations."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Log:
    """The file `log.jsonl`: running means of the losses, and the speed, at intervals of some steps."""

    def __init__(self, path: Path, start: int, batch_size: int) -> None:
        """Begin at step `start`; lines beyond it, of a run that was killed, are dropped."""
        self.path, self.batch_size = path, batch_size
        self.means: dict[str, float] = {}
        self.restart_clock(start)
        cut(path, start)

    def add(self, losses: Mapping[str, float]) -> float:
        """Take in a step's losses; return the mean of their sum."""
        for name, value in losses.items():
            self.means[name] = 0.95 * self.means.get(name, value) + 0.05 * value
        return sum(self.means.values())

    def restart_clock(self, step: int) -> None:
        """Measure the speed from this step on, as after a pause in which nothing trained."""
        self._written = step, time.perf_counter()

    def write(self, step: int, lr: float) -> None:
        """Add a line."""
        before, then = self._written
        speed = (step - before) * self.batch_size / (time.perf_counter() - then)
        self.restart_clock(step)
        means = {name: round(value, 5) for name, value in self.means.items()}
        append(self.path, {"step": step, "lr": lr, "images_per_second": speed} | means)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a file."""
    with path.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def cut(path: Path, step: int) -> None:
    """Drop what a killed run wrote beyond the step that it was stored at, if there is such a file."""
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        path.write_text("".join(f"{line}\n" for line in kept))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return what `append` wrote; nothing if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _step_of(line: str) -> float:
    """Return a line's step; infinity if the line was cut off while it was written."""
    try:
        return float(json.loads(line)["step"])
    except (KeyError, TypeError, ValueError):
        return math.inf
