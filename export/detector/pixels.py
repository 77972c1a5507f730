"""How an image becomes a detector's input, and boxes in that input become boxes in the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from export.detector.settings import DetectorInput


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a detector's input: its pixel (x, y) is at (x·scale_x + left, y·scale_y + top)."""

    height: int  # of the resized image
    width: int
    top: int
    left: int
    scale_y: float
    scale_x: float

    def to_image(self, boxes: Tensor) -> Tensor:
        """Return boxes [N, 4] in pixels of the input as pixels of the image; they may reach beyond it."""
        offset = boxes.new_tensor([self.left, self.top] * 2)
        return (boxes - offset) / boxes.new_tensor([self.scale_x, self.scale_y] * 2)


def place(height: int, width: int, settings: DetectorInput) -> Placement:
    """Return where an image of this size lies in the input."""
    if settings.resize == "stretch":
        return _placed(height, width, settings.height, settings.width, 0, 0)
    scale = min(settings.height / height, settings.width / width)
    inner_height = min(max(1, round(height * scale)), settings.height)
    inner_width = min(max(1, round(width * scale)), settings.width)
    top, left = 0, 0
    if settings.align == "center":
        top, left = (settings.height - inner_height) // 2, (settings.width - inner_width) // 2
    return _placed(height, width, inner_height, inner_width, top, left)


def _placed(height: int, width: int, inner_height: int, inner_width: int, top: int, left: int) -> Placement:
    return Placement(inner_height, inner_width, top, left, inner_height / height, inner_width / width)


def detector_input(image: Tensor, where: Placement, settings: DetectorInput) -> Tensor:
    """Return an RGB image, uint8 [3, h, w], as the input [3, H, W]: float32 from 0 to 255, with the grey around it."""
    size = where.height, where.width
    resized = interpolate(image[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    placed = torch.full((3, settings.height, settings.width), float(settings.fill), device=image.device)
    placed[:, where.top : where.top + where.height, where.left : where.left + where.width] = resized[0]
    return placed.round_().clamp_(0, 255)


def normalised(pixels: Tensor, settings: DetectorInput) -> Tensor:
    """Return inputs [N, 3, H, W] from 0 to 255 with the channels and the scale that the graph wants."""
    if settings.channels == "BGR":
        pixels = pixels.flip(1)
    mean = pixels.new_tensor(settings.mean)[:, None, None]
    std = pixels.new_tensor(settings.std)[:, None, None]
    return (pixels / settings.divide_by - mean) / std
