"""Colours of classes and instances."""

from __future__ import annotations

import colorsys
from typing import Any

Colour = tuple[int, int, int]  # red, green, blue
VOID = 255  # in label maps: the cells of classes that were not asked for


def colour(index: int) -> Colour:
    """Return a vivid colour for an index. Hues are a golden section apart, so neighbours differ clearly."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + 0.618034 * index) % 1, 0.8, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def default_palette(count: int) -> tuple[Colour, ...]:
    """Return a colour for each of `count` classes."""
    return tuple(colour(i) for i in range(count))


def parse_palette(rows: Any) -> tuple[Colour, ...]:
    """Return colours read from JSON. Raise ValueError or TypeError if they are not triples of 0–255."""
    colours = tuple((int(red), int(green), int(blue)) for red, green, blue in rows)
    if any(not 0 <= part <= 255 for colour in colours for part in colour):
        raise ValueError("a colour of the palette is not three numbers from 0 to 255")
    return colours
