"""Resize, normalise and pad decoded images to the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

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


def resize(image: NDArray[np.uint8], config: Preprocessing) -> NDArray[np.uint8]:
    """Resize an image [H, W, 3] for the network with Pillow's antialiased bilinear filter, as the reference does."""
    height, width = resized_size(image.shape[0], image.shape[1], config.short_edge, config.long_edge)
    height, width = max(1, height), max(1, width)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def padded_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return the least multiples of `stride` that hold (height, width)."""
    return -(-height // stride) * stride, -(-width // stride) * stride


def network_input(images: Sequence[Tensor], config: Preprocessing) -> tuple[Tensor, Tensor]:
    """Return RGB images uint8 [3, H, W] as a normalised batch [B, 3, H', W'], and their sizes [B, 2] (height, width).

    Images are padded on the right and at the bottom to the largest of the batch, with 0 after normalisation.
    """
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.float32)
    height, width = padded_size(
        max(i.shape[-2] for i in images), max(i.shape[-1] for i in images), config.stride
    )
    mean = torch.tensor(config.mean)[:, None, None]
    std = torch.tensor(config.std)[:, None, None]
    batch = torch.zeros(len(images), 3, height, width)
    for place, image in zip(batch, images, strict=True):
        pixels = image.flip(0) if config.channel_order == "BGR" else image
        place[:, : image.shape[-2], : image.shape[-1]] = (pixels.float() - mean) / std
    return batch, sizes
