"""Normalise and pad images to the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config.parts import Preprocessing
from model.predict.resize import padded_size


def network_input(
    images: Sequence[Tensor], config: Preprocessing, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return RGB images uint8 [3, H, W] as a normalised batch [B, 3, H', W'], and their sizes [B, 2] (height, width).

    Images are padded on the right and at the bottom to the largest of the batch, with 0 after normalisation. They go to
    the device as bytes, a quarter of their size in floats, and are normalised there.
    """
    device = torch.device(device)
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.float32)
    height, width = padded_size(
        max(i.shape[-2] for i in images), max(i.shape[-1] for i in images), config.stride
    )
    mean = torch.tensor(config.mean, device=device)[:, None, None]
    std = torch.tensor(config.std, device=device)[:, None, None]
    batch = torch.zeros(len(images), 3, height, width, device=device)
    for place, image in zip(batch, images, strict=True):
        pixels = _uploaded(image, device)
        if config.channel_order == "BGR":
            pixels = pixels.flip(0)
        place[:, : image.shape[-2], : image.shape[-1]] = (pixels.float() - mean) / std
    return batch, sizes.to(device)


def _uploaded(image: Tensor, device: torch.device) -> Tensor:
    """Return an image on the device. Only from pinned memory is it sent while the host goes on."""
    return image if device.type == "cpu" else image.pin_memory().to(device, non_blocking=True)
