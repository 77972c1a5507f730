"""Measurements as JSON files, and numbers as text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from model.errors import UserError


def write(path: Path, data: Any) -> None:
    """Write measurements as JSON. NaN, which means not measured, becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(data), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path, *keys: str) -> dict[str, Any]:
    """Read what `write` wrote. Raise UserError if the file is not JSON or lacks one of the keys, or OSError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict) or (missing := [key for key in keys if key not in data]):
        raise UserError(f"{path} is not a file of `python -m bench.paper`: it lacks {', '.join(missing)}")
    return data


def number(value: float | None) -> str:
    """Return a number with four decimals, or a dash for what was not measured."""
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def percent(value: float | None) -> str:
    """Return a share as percent with one decimal, or a dash for what was not measured."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data
