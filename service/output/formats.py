"""The table of formats in which answers come. A new format is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.output import coco, png, polygon, rle, rle_list
from service.output.format import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "rle": rle.FORMAT,
        "rle_list": rle_list.FORMAT,
        "polygon": polygon.FORMAT,
        "coco": coco.FORMAT,
        "png": png.FORMAT,
    }
)
DEFAULT = "rle"


def names(task: str) -> tuple[str, ...]:
    """Return the names of the formats that can hold results of this task."""
    return tuple(name for name, format in FORMATS.items() if task in format.tasks)


def described() -> str:
    """Return all formats with their descriptions, in one sentence, for OpenAPI and help texts."""
    return "; ".join(
        f"`{name}`: {format.description} ({' and '.join(format.tasks)} models)"
        for name, format in FORMATS.items()
    )
