"""The sizes of the network's input, and resizing to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.config.parts import Preprocessing


def resized_size(height: int, width: int, short_edge: int, long_edge: int) -> tuple[int, int]:
    """Return (height, width) with the shorter edge at `short_edge`, unless the longer one would exceed `long_edge`."""
    shorter = min(height, width)
    scale = short_edge / shorter
    # The short edge is used as given: shorter * scale may differ from it by a rounding error.
    sides = [float(short_edge) if side == shorter else side * scale for side in (height, width)]
    if max(sides) > long_edge:
        cap = long_edge / max(sides)
        sides = [side * cap for side in sides]
    return int(sides[0] + 0.5), int(sides[1] + 0.5)


def input_size(height: int, width: int, config: Preprocessing) -> tuple[int, int]:
    """Return (height, width) of an image at the network's input, at least 1 each."""
    height, width = resized_size(height, width, config.short_edge, config.long_edge)
    return max(1, height), max(1, width)


def resize(image: NDArray[np.uint8], config: Preprocessing) -> NDArray[np.uint8]:
    """Resize an image [H, W, 3] for the network with Pillow's antialiased bilinear filter, as the reference does."""
    height, width = input_size(image.shape[0], image.shape[1], config)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def padded_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return the least multiples of `stride` that hold (height, width)."""
    return -(-height // stride) * stride, -(-width // stride) * stride
