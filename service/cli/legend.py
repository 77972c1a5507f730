"""A legend below a picture: the name of each colour."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from model.masks.palette import Colour


def with_legend(picture: Image.Image, entries: Sequence[tuple[Colour, str]]) -> Image.Image:
    """Return the picture with a strip below it that names colours, as it is without entries.

    The picture's own pixels stay where they are.
    """
    if not entries:
        return picture
    size = min(40, max(11, round(max(picture.size) / 48)))
    font, gap = ImageFont.load_default(size), size // 2
    line = size + 2 * gap
    places: list[tuple[int, int]] = []  # of the swatches
    left, row = gap, 0
    for _, name in entries:
        length = size + gap + round(font.getlength(name)) + 2 * gap
        if places and left + length > picture.width:
            left, row = gap, row + 1
        places.append((left, picture.height + row * line + gap))
        left += length
    drawn = Image.new("RGB", (picture.width, picture.height + (row + 1) * line), "white")
    drawn.paste(picture, (0, 0))
    pen = ImageDraw.Draw(drawn)
    for (x, y), (shade, name) in zip(places, entries, strict=True):
        pen.rectangle((x, y, x + size, y + size), fill=shade, outline="black")
        pen.text((x + size + gap, y + size / 2), name, "black", font, anchor="lm")
    return drawn
