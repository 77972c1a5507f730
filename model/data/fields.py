"""Members of a JSON file's entries, read with their kind checked."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any


class DataError(ValueError):
    """Annotations or images that cannot be trained on; the message says which and why."""


def value(entry: Any, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f"no {key!r}")
    return entry[key]


def integer(entry: Any, key: str) -> int:
    found = value(entry, key)
    if isinstance(found, bool) or not isinstance(found, int):
        raise DataError(f"{key!r} must be an integer, got {found!r}")
    return found


def text(entry: Any, key: str) -> str:
    found = value(entry, key)
    if not isinstance(found, str) or not found:
        raise DataError(f"{key!r} must be a text that is not empty, got {found!r}")
    return found


def unseen(key: str, new: int | str, seen: Container[int | str]) -> None:
    if new in seen:
        raise DataError(f"{key} {new if isinstance(new, int) else repr(new)} is there twice")


def finite(numbers: list[Any]) -> bool:
    return all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)


def name(entry: Any) -> str:
    """How an error calls an entry."""
    if not isinstance(entry, dict):
        return repr(entry)
    return " ".join(str(entry[key]) for key in ("id", "file_name") if key in entry) or "without id"
