"""Members of a JSON file's entries, read with their kind checked."""

from __future__ import annotations

import json
import math
from collections.abc import Container
from pathlib import Path
from typing import Any

from model.errors import UserError


class DataError(UserError):
    """Annotations or images cannot be used; the message says which and why."""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises DataError that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error


def value(entry: Any, key: str) -> Any:
    """Return an entry's member. Raises DataError if there is none."""
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f"no {key!r}")
    return entry[key]


def integer(entry: Any, key: str) -> int:
    """Return an entry's whole number. Raises DataError."""
    found = value(entry, key)
    if isinstance(found, bool) or not isinstance(found, int):
        raise DataError(f"{key!r} must be an integer, got {found!r}")
    return found


def text(entry: Any, key: str) -> str:
    """Return an entry's text. Raises DataError if it is none or empty."""
    found = value(entry, key)
    if not isinstance(found, str) or not found:
        raise DataError(f"{key!r} must be a text that is not empty, got {found!r}")
    return found


def check_unseen(key: str, new: int | str, seen: Container[int | str]) -> None:
    """Raise DataError if a value that must be unique is among those seen before."""
    if new in seen:
        raise DataError(f"{key} {new if isinstance(new, int) else repr(new)} is there twice")


def are_finite(numbers: list[Any]) -> bool:
    """Return whether all are numbers, none of them infinite or NaN."""
    return all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)


def label_of(entry: Any) -> str:
    """Return how an error message calls an entry: by its id and file name."""
    if not isinstance(entry, dict):
        return repr(entry)
    return " ".join(str(entry[key]) for key in ("id", "file_name") if key in entry) or "without id"
