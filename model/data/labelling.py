"""What the pixel values of label maps mean: a small JSON file beside the data.

    {"classes": [{"id": 0, "name": "sky", "colour": [128, 128, 128]}, …], "ignore": [11]}

Every pixel of a label map is the `id` of a class or one of the values to `ignore`. Colours may be left out.
`examples/camvid.json` is one such file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config.categories import Category
from model.data.fields import DataError, read_json, whole
from model.masks.palette import VOID, Colour, default_palette, parse_palette


@dataclass(frozen=True)
class Labelling:
    """What the pixels of label maps mean; a class is its position in `classes`."""

    classes: tuple[Category, ...]  # ids are pixel values
    palette: tuple[Colour, ...]
    ignore: tuple[int, ...] = ()  # pixel values

    @property
    def names(self) -> list[str]:
        """The classes' names, in order."""
        return [category.name for category in self.classes]

    def table(self) -> NDArray[np.int16]:
        """Return for each of 256 pixel values its class, VOID, or -1 for a value that means nothing."""
        table = np.full(256, -1, np.int16)
        table[list(self.ignore)] = VOID
        table[[category.id for category in self.classes]] = np.arange(len(self.classes))
        return table


def read_labelling(file: Path) -> Labelling:
    """Return the content of a data set's JSON file. Raises DataError that says what is wrong in it."""
    data = read_json(file)
    entries = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f'{file}: expected {{"classes": [{{"id": 0, "name": "sky"}}, …], "ignore": [255]}}')
    classes = tuple(Category(_pixel_value(file, e.get("id"), "id"), _name(file, e)) for e in entries)
    ignore = data.get("ignore", [])
    if not isinstance(ignore, list):
        raise DataError(f"{file}: 'ignore' must be a list of pixel values, got {ignore!r}")
    ignored = tuple(_pixel_value(file, value, "ignore") for value in ignore)
    values = [*(c.id for c in classes), *ignored]
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise DataError(f"{file}: pixel value {repeated[0]} is listed more than once")
    names = [c.name for c in classes]
    if same := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{file}: two classes are named {same[0]!r}")
    if not 2 <= len(classes) <= VOID:
        raise DataError(f"{file}: there must be 2 to {VOID} classes, got {len(classes)}")
    return Labelling(classes, _palette(file, entries), ignored)


def _pixel_value(file: Path, value: Any, key: str) -> int:
    number = whole(value)
    if number is None or not 0 <= number <= 255:
        raise DataError(f"{file}: {key!r} must be a pixel value from 0 to 255, got {value!r}")
    return number


def _name(file: Path, entry: dict[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise DataError(f"{file}: class {entry.get('id')!r} needs a name")
    return name


def _palette(file: Path, entries: list[dict[str, Any]]) -> tuple[Colour, ...]:
    """Return the classes' colours; those left out are as different as they can be."""
    rows = [e.get("colour", c) for e, c in zip(entries, default_palette(len(entries)), strict=True)]
    try:
        return parse_palette(rows)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: a 'colour' is not three numbers from 0 to 255") from error
