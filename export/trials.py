"""The pictures on which an exported graph is compared with its network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.parts import Preprocessing
from model.predict.preprocess import network_input
from model.predict.resize import resized_size

# Given boxes of each image: x0, y0, x1, y1 as shares of its sides, and the class (-1: the network chooses it).
_GIVEN = (((0.1, 0.1, 0.6, 0.9), 0), ((0.3, 0.2, 0.95, 0.7), -1))


def trials(pixels: Preprocessing, full_size: bool) -> list[dict[str, Tensor]]:
    """Return the inputs of some coarse passes: batches of 1 and 3 pictures, several sizes, a picture of nothing.

    `full_size` adds a picture of the size that the network sees in use.
    """
    largest = resized_size(480, 640, pixels.short_edge, pixels.long_edge)
    height, width = largest[0] // 2, largest[1] // 2
    shapes = [(3, height, width), (1, height, width), (1, width, height), (1, height, height)]
    if full_size:
        shapes.append((1, *largest))
    batches = [[picture(h, w, seed) for seed in range(count)] for count, h, w in shapes]
    return [inputs(batch, pixels) for batch in (*batches, [blank_image(height, width)])]


def inputs(images: Sequence[NDArray[np.uint8]], pixels: Preprocessing) -> dict[str, Tensor]:
    """Return the inputs of a coarse pass over images [H, W, 3] of the network's size, with two given boxes each."""
    tensors = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
    batch, sizes = network_input(tensors, pixels)
    shares = torch.tensor([box for box, _ in _GIVEN])
    return {
        "image": batch,
        "size": sizes,
        "prompts": torch.cat([shares * size.flip(0).repeat(2) for size in sizes]),
        "prompt_batch": torch.arange(len(images)).repeat_interleave(len(_GIVEN)),
        "prompt_class": torch.tensor([category for _, category in _GIVEN]).repeat(len(images)),
    }


def no_regions(pixels: Preprocessing) -> dict[str, Tensor]:
    """Return the inputs of a pass that finds nothing: an image that is padding only, and no given boxes."""
    empty = inputs([blank_image(2 * pixels.stride, 2 * pixels.stride)], pixels)
    none = {name: value[:0] for name, value in empty.items() if name.startswith("prompt")}
    return none | {name: torch.zeros_like(empty[name]) for name in ("image", "size")}


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Return a made-up picture [H, W, 3] with shapes and texture, so that networks have something to see."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([128 + 60 * np.sin(x / 37 + c) + 40 * np.cos(y / 23 + 2 * c) for c in range(3)], -1)
    for _ in range(8):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.04, 0.25, 2) * (width, height)
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        image[inside] = rng.uniform(0, 255, 3)
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def blank_image(height: int, width: int) -> NDArray[np.uint8]:
    """Return a grey picture of nothing, [H, W, 3].

    It has faint noise: where all places look the same, their scores are equal, and rounding chooses among them.
    """
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    return np.clip(124 + noise, 0, 255).astype(np.uint8)
