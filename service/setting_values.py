"""The kinds of values that settings have: how they are read from text, and what is no such value."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr

# An origin as browsers send it: in lower case, without path and slash.
_ORIGIN = re.compile(r"\*|https?://[a-z0-9.:\[\]-]+")
# A path that needs no escapes and has no segments such as `..`.
ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,16}")
_ADDRESS = re.compile(
    rf"https?://[A-Za-z0-9.-]+(:[0-9]{{1,5}})?({ROOT_PATH.pattern})?/?|https?://\[[0-9a-f:]+\](:[0-9]{{1,5}})?/?"
)


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _usable(value: Any) -> Any:
    """Raise ValueError for an empty secret, which would admit everybody, and for one that no header can carry."""
    if isinstance(value, str) and not (value.strip(", ") and value.isascii()):
        raise ValueError("is set, so it must hold at least one key, of ASCII characters")
    return value


def _path(value: str) -> str:
    """Return the path without its final slash. Raise ValueError for what is no path."""
    path = value.rstrip("/")
    if path and not ROOT_PATH.fullmatch(path):
        raise ValueError("is a path such as /vision, of letters, digits and . _ ~ -")
    return path


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Raise ValueError for an origin with a path or a final slash, which would silently match nothing."""
    if wrong := [origin for origin in value if not _ORIGIN.fullmatch(origin)]:
        raise ValueError(f"an origin is * or like https://app.example:8443, not {wrong[0][:80]!r}")
    return value


def _address(value: str) -> str:
    """Return the address without its final slash. Raise ValueError for what is none."""
    if not _ADDRESS.fullmatch(value):
        raise ValueError("is an address such as https://label-studio.example, without name and password")
    return value.rstrip("/")


Split = BeforeValidator(_split)  # a list, or text with commas
Secrets = Annotated[tuple[SecretStr, ...], Split, BeforeValidator(_usable)]
RootPath = Annotated[str, AfterValidator(_path)]
Origins = Annotated[tuple[str, ...], Split, AfterValidator(_origins)]
Address = Annotated[str, AfterValidator(_address)]
