"""Image files of training and evaluation data, read as the service reads what it is sent.

A network so sees the same pixels while it trains, while it is measured and in service: upright, in sRGB, on white,
with 16 bits scaled to 8. The formats are those of the service, too.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.predict.headers import Header, read_header
from model.predict.images import decode

Pixels = NDArray[np.uint8]
MAX_PIXELS = 2**30  # far above the service's bound: the files are the user's own


def read_rgb(path: Path) -> Pixels:
    """Return an image file as displayed, [H, W, 3] RGB. Raises OSError and `ImageError`."""
    return decode(path.read_bytes(), max_pixels=MAX_PIXELS).pixels


def read_size(path: Path) -> Header:
    """Return the header, with the size that `read_rgb` would give. Raises OSError and `ImageError`."""
    with path.open("rb") as file:
        if not file.seek(0, 2):  # an empty file cannot be mapped
            return read_header(b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_header(data)
