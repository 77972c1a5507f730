"""Draw masks and label maps on their image: translucent colours, crisp outlines, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.errors import UserError
from model.masks.palette import Colour, colour
from model.masks.paste import Crop

OPACITY = 0.45
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, eq=False)
class Layer:
    """One instance to draw: its mask and the text beside it."""

    crop: Crop
    label: str


def check_suffix(out: Path) -> None:
    """Raise UserError unless Pillow can write a file of this name."""
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise UserError(f"cannot write a picture as {out.name!r}; name it .png or .jpg")


def draw(pixels: NDArray[np.uint8], layers: Sequence[Layer]) -> Image.Image:
    """Return the RGB image [H, W, 3] with its instances: large ones below small ones, labels above all."""
    canvas = pixels.copy()
    seen = [(layer, colour(i)) for i, layer in enumerate(layers) if layer.crop.bitmap.any()]
    seen.sort(key=lambda pair: -int(pair[0].crop.bitmap.sum()))
    thickness = max(1, round(max(canvas.shape) / 500))
    for layer, shade in seen:
        _paint(canvas, layer.crop, shade, thickness)
    image = Image.fromarray(canvas)
    _write(image, seen)
    return image


def painted(pixels: NDArray[np.uint8], labels: NDArray[np.uint8], palette: Sequence[Colour]) -> Image.Image:
    """Return the RGB image [H, W, 3] under its label map [H, W]. Labels beyond the palette change nothing."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    share = np.where(labels < len(palette), np.float32(OPACITY), np.float32(0))[:, :, None]
    return Image.fromarray((pixels * (1 - share) + colours[labels] * share).astype(np.uint8))


def _paint(canvas: NDArray[np.uint8], crop: Crop, shade: Colour, thickness: int) -> None:
    height, width = crop.bitmap.shape
    part = canvas[crop.top : crop.top + height, crop.left : crop.left + width]
    paint = np.array(shade, np.float32)
    part[crop.bitmap] = (part[crop.bitmap] * (1 - OPACITY) + paint * OPACITY).astype(np.uint8)
    part[crop.bitmap & ~_eroded(crop.bitmap, thickness)] = shade


def _eroded(bitmap: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    for _ in range(steps):
        wide = np.pad(bitmap, 1)
        bitmap = bitmap & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return bitmap


def _write(image: Image.Image, seen: Sequence[tuple[Layer, Colour]]) -> None:
    size = min(40, max(11, round(max(image.size) / 48)))
    font, pen = ImageFont.load_default(size), ImageDraw.Draw(image)
    taken: list[Rectangle] = []
    for layer, shade in seen:
        left, top, right, bottom = pen.textbbox((0, 0), layer.label, font)
        margin = size // 3
        box = round(right - left) + 2 * margin, round(bottom - top) + 2 * margin
        place = _place(layer.crop, box, image.size, taken)
        taken.append(place)
        pen.rounded_rectangle(place, margin, fill=shade)
        dark = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > 140
        start = place[0] + margin - left, place[1] + margin - top
        pen.text(start, layer.label, "black" if dark else "white", font)


def _place(crop: Crop, box: tuple[int, int], size: tuple[int, int], taken: list[Rectangle]) -> Rectangle:
    """Return the place of a label: above the mask's first row, or lower if that is taken or outside of the image."""
    width, height = box
    rows, columns = np.nonzero(crop.bitmap.any(axis=1))[0], np.nonzero(crop.bitmap.any(axis=0))[0]
    left = max(0, min(crop.left + int(columns[0]), size[0] - width))
    first = max(0, crop.top + int(rows[0]) - height - 2)
    for top in range(first, max(first, size[1] - height) + 1, max(1, height // 4)):
        place = (left, top, left + width, top + height)
        if not any(_overlap(place, other) for other in taken):
            return place
    return (left, first, left + width, first + height)


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
