"""Turn pictures upright, with little memory."""

from __future__ import annotations

from PIL import Image
from PIL.Image import Transpose

BAND = 2**18  # pixels that are worked on at once


def flip_upright(image: Image.Image, orientation: int) -> None:
    """Flip a picture in place, so that it is upright, or once its axes are exchanged (orientations 5 to 8)."""
    left_right, top_bottom = orientation in (2, 3, 7, 8), orientation in (3, 4, 6, 7)
    if top_bottom:
        _flip_rows(image, Transpose.ROTATE_180 if left_right else Transpose.FLIP_TOP_BOTTOM)
    elif left_right:
        for top, bottom in bands(image):
            band = image.crop((0, top, image.width, bottom))
            image.paste(band.transpose(Transpose.FLIP_LEFT_RIGHT), (0, top))


def _flip_rows(image: Image.Image, method: Transpose) -> None:
    """Exchange bands from the top with those from the bottom."""
    most, top, bottom = max(1, BAND // image.width), 0, image.height
    while top < bottom:
        rows = min(most, max(1, (bottom - top) // 2))
        upper = image.crop((0, top, image.width, top + rows)).transpose(method)
        lower = image.crop((0, bottom - rows, image.width, bottom)).transpose(method)
        image.paste(lower, (0, top))
        image.paste(upper, (0, bottom - rows))
        top, bottom = top + rows, bottom - rows


def bands(image: Image.Image) -> list[tuple[int, int]]:
    """Return the first row and the row behind the last of bands that together are the whole picture."""
    rows = max(1, BAND // image.width)
    return [(top, min(image.height, top + rows)) for top in range(0, image.height, rows)]
