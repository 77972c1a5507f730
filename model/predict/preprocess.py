"""Normalise and pad images to the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config.parts import Preprocessing
from model.predict.resize import padded_size


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
