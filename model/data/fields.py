"""Members of a JSON file's entries, read with their kind checked."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from model.errors import UserError, reason

_DIGITS = re.compile(r"-?[0-9]{1,19}")
_LARGEST = sys.float_info.max
_SHOWN = 80  # characters of a value in a message


class DataError(UserError):
    """Annotations or images cannot be used; the message says which and why."""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises DataError that names the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    try:
        return json.loads(content)  # of bytes: a byte order mark is read over, and UTF-16 is understood
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {reason(error)}") from error


def value(entry: Any, key: str) -> Any:
    """Return an entry's member. Raises DataError if there is none."""
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f"no {key!r}")
    return entry[key]


def whole(given: Any) -> int | None:
    """Return a whole number of at most 64 bits, however a tool has written it: 3, 3.0 or "3". None if it is none."""
    number: int | None = None
    if isinstance(given, int) and not isinstance(given, bool):
        number = given
    elif (isinstance(given, float) and given.is_integer()) or (
        isinstance(given, str) and _DIGITS.fullmatch(given)
    ):
        number = int(given)
    return number if number is not None and -(2**63) <= number < 2**63 else None


def whole_numbers(given: Any) -> list[int] | None:
    """Return a list of whole numbers, as `whole` reads them. None if it is none."""
    numbers = [whole(number) for number in given] if isinstance(given, list) else [None]
    return None if None in numbers else [number for number in numbers if number is not None]


def integer(entry: Any, key: str) -> int:
    """Return an entry's whole number, as `whole` reads it. Raises DataError."""
    found = value(entry, key)
    number = whole(found)
    if number is None:
        raise DataError(f"{key!r} must be a whole number, got {repr(found)[:_SHOWN]}")
    return number


def flag(entry: Mapping[str, Any], key: str) -> bool:
    """Return an entry's 0 or 1; one that is not there or null is a 0. Raises DataError."""
    found = entry.get(key)
    if not isinstance(found, bool | None) and whole(found) not in (0, 1):
        raise DataError(f"{key!r} must be 0 or 1, got {repr(found)[:_SHOWN]}")
    return bool(found) if isinstance(found, bool | None) else whole(found) == 1


def text(entry: Any, key: str) -> str:
    """Return an entry's text. Raises DataError if it is none, empty, or holds halves of characters."""
    found = value(entry, key)
    if (
        not isinstance(found, str)
        or not found
        or any("\ud800" <= character <= "\udfff" for character in found)
    ):
        raise DataError(f"{key!r} must be a text that is not empty, got {ascii(found)[:_SHOWN]}")
    return found


def check_unseen(key: str, new: int | str, seen: Container[int | str]) -> None:
    """Raise DataError if a value that must be unique is among those seen before."""
    if new in seen:
        raise DataError(f"{key} {new if isinstance(new, int) else repr(new)} is there twice")


def are_finite(numbers: list[Any]) -> bool:
    """Return whether all are numbers that fit into a float, none of them infinite or NaN."""
    return all(isinstance(n, int | float) and -_LARGEST <= n <= _LARGEST for n in numbers)


def label_of(entry: Any) -> str:
    """Return how an error message calls an entry: by its id and file name."""
    if not isinstance(entry, dict):
        return repr(entry)[:_SHOWN]
    return " ".join(str(entry[key])[:_SHOWN] for key in ("id", "file_name") if key in entry) or "without id"
