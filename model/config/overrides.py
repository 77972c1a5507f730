"""Changes to a frozen configuration by name: `("augmentation.crop", 0.5)`, as the command line's `--set` gives them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from model.errors import UserError

Config = TypeVar("Config")


def override(config: Config, changes: Sequence[str]) -> Config:
    """Return `config` with each change "name=value" applied; dots lead into its parts, values are JSON.

    Raises UserError that names the change and what is there, or which type the value must have.
    """
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"expected name=value, got {change!r}")
        config = _changed(config, name.strip().split("."), _value(text.strip()), change)
    return config


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text  # a word, without the quotes that a shell would eat
    return tuple(value) if isinstance(value, list) else value


def _changed(config: Any, path: list[str], value: Any, change: str) -> Any:
    names = _names(config)
    if path[0] not in names:
        raise UserError(f"{change!r}: there is no {path[0]!r}; there are {', '.join(names)}")
    old = getattr(config, path[0])
    if len(path) > 1:
        if not dataclasses.is_dataclass(old):
            raise UserError(f"{change!r}: {path[0]!r} has no parts")
        return dataclasses.replace(config, **{path[0]: _changed(old, path[1:], value, change)})
    if dataclasses.is_dataclass(old):
        parts = ", ".join(f"{path[0]}.{name}" for name in _names(old))
        raise UserError(f"{change!r}: choose a part, one of {parts}")
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    numbers = not isinstance(value, tuple) or all(type(number) in (int, float) for number in value)
    if type(value) is not type(old) or not numbers:
        raise UserError(f"{change!r}: expected {_kind(old)}, like {json.dumps(old)}")
    return dataclasses.replace(config, **{path[0]: cast(Any, value)})


def _names(config: Any) -> list[str]:
    """Return the names of what may be changed: all but the `type` by which files know a part."""
    return [member.name for member in dataclasses.fields(config) if member.name != "type"]


def _kind(value: Any) -> str:
    kinds = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a word",
        tuple: "a list of numbers",
    }
    return kinds.get(type(value), type(value).__name__)
