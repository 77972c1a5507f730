"""The size of an image as displayed, read from its file's header."""

from __future__ import annotations

from model.predict.headers import read_header
from model.predict.image_errors import ImageError


def header_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height that `decode` would give an image, None if `decode` will refuse it."""
    try:
        header = read_header(data)
    except ImageError:
        return None
    return header.width, header.height
