"""Reading the reference's YAML: dotted keys, their values, and whether our network can use them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from model.checkpoints.detectron2 import keys
from model.errors import UserError, reason


class ReferenceConfigError(UserError):
    """A configuration that cannot be read or that asks for something our network does not do."""


class _Loader(yaml.SafeLoader):
    """Safe YAML; the reference's dumps may tag a sequence as a Python tuple, which is read as a list."""

    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        return self.construct_sequence(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.sequence)


def read(path: Path) -> dict[str, Any]:
    """Return the file's keys, joined with dots, with their values as they stand there. Raises ReferenceConfigError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ReferenceConfigError(f"{path.name} could not be read: {line}{error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ReferenceConfigError(f"{path.name} could not be read: {reason(error)}") from error
    if not isinstance(content, dict):
        raise ReferenceConfigError(f"{path.name} is not a configuration: it holds no keys")
    if "_BASE_" in content:
        raise ReferenceConfigError(
            f"{path.name} builds on another file (_BASE_: {content['_BASE_']}): give the full config.yaml "
            "that the reference writes into its output folder"
        )
    return dict(_flat(content))


def _flat(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _decoded(value: Any) -> Any:
    """Return sequences as tuples, and text that spells a Python literal, "(10.0, 5.0)", as the reference reads it."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return tuple(_decoded(v) for v in value) if isinstance(value, (list, tuple)) else value


def settle(
    given: Mapping[str, Any], used: Mapping[str, Any], built_in: Mapping[str, Any], ignored: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of all keys that count, from the file or by default, and what is wrong with the file.

    `used`: key → default. `built_in`: key → default, admitted values. `ignored`: patterns of neutral keys.
    """
    values = {key: default for key, (default, _) in built_in.items()} | dict(used)
    problems = [
        f"{key} is unknown"
        for key in given
        if key not in values and not any(fnmatchcase(key, pattern) for pattern in ignored)
    ]
    values |= {key: _decoded(value) for key, value in given.items() if key in values}
    problems += [
        f"{key} = {values[key]!r} is not usable"
        for key, default in used.items()
        if not _usable(key, values[key], default)
    ]
    return values, problems


def foreign(values: Mapping[str, Any], built_in: Mapping[str, Any]) -> Iterator[str]:
    """Name values that our network has not built in."""
    for key, (_, admitted) in built_in.items():
        if values[key] not in admitted:
            yield f"{key} = {values[key]!r} is not supported, only {' or '.join(map(repr, admitted))}"


def _usable(key: str, value: Any, default: Any) -> bool:
    """Return whether a value has the type of its key's default; sizes are at least 1, thresholds within 0 to 1."""
    if key in keys.CHOICES:
        return value in keys.CHOICES[key]
    match default:
        case bool() | str():
            return type(value) is type(default)
        case int():
            return type(value) is int and value >= (0 if key in keys.MAY_BE_ZERO else 1)
        case float():
            return is_number(value) and 0 <= value <= 1
    if key.startswith("MODEL.ANCHOR_GENERATOR."):
        return True  # checked level by level (instance_keys)
    if not (isinstance(value, tuple) and len(value) == 3 and all(map(is_number, value))):
        return False
    return key != keys.STD or min(value) > 0


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
