"""Turn pictures upright, with little memory."""

from __future__ import annotations

from types import MappingProxyType

from PIL import Image
from PIL.Image import Transpose

BAND = 2**18  # pixels that are worked on at once
# EXIF's orientation → what makes a picture upright
_FLIPS = MappingProxyType(
    {2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM},
)
_TURNS = MappingProxyType(
    {5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90},
)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture whose axes are exchanged if the orientation says so (5 to 8), else the picture itself."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def flip(image: Image.Image, orientation: int) -> None:
    """Make a picture upright in place if the orientation keeps its axes (2 to 4)."""
    method = _FLIPS.get(orientation)
    if method == Transpose.FLIP_LEFT_RIGHT:
        for top, bottom in bands(image):
            band = image.crop((0, top, image.width, bottom))
            image.paste(band.transpose(method), (0, top))
    elif method is not None:
        _exchange_rows(image, method)


def _exchange_rows(image: Image.Image, method: Transpose) -> None:
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
