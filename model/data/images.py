"""Image files of training and evaluation data, read as the service reads what it is sent.

A network so sees the same pixels while it trains, while it is measured and in service: upright, in sRGB, on white,
with 16 bits scaled to 8. The formats are those of the service, too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.predict.image_size import DisplayedSize, displayed_size
from model.predict.images import ImageError, decode

Pixels = NDArray[np.uint8]
MAX_PIXELS = 2**30  # far above the service's bound: the files are the user's own


def read_rgb(path: Path) -> Pixels:
    """Return an image file as displayed, [H, W, 3] RGB. Raises OSError and `ImageError`."""
    return decode(path.read_bytes(), max_pixels=MAX_PIXELS).pixels


def read_size(path: Path) -> DisplayedSize:
    """Return the size that `read_rgb` would give, by the file's header. Raises OSError and `ImageError`."""
    with path.open("rb") as file:
        try:
            return displayed_size(file)
        except ImageError:
            raise
        except Exception as error:  # Pillow raises nearly anything at a damaged file
            raise OSError(f"its header is damaged ({error})") from error
