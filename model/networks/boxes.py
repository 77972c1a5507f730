"""Boxes (x0, y0, x1, y1) in pixels: anchors, the delta coding of Faster R-CNN, clipping, matching.

torchvision has no public functions for coding and matching, and clips only boxes of one image whose size is known as
numbers; here boxes are batched and sizes are tensors, so that an exported graph takes images of any size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DELTA_LIMIT = math.log(1000.0 / 16)  # keeps exp() of a wild width or height finite
RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def cell_anchors(size: float, aspect_ratios: tuple[float, ...]) -> Tensor:
    """Return anchors [A, 4] around (0, 0), one for each ratio height/width, each of area size² and not rounded."""
    widths = [size / math.sqrt(ratio) for ratio in aspect_ratios]
    sides = [(w, ratio * w) for w, ratio in zip(widths, aspect_ratios, strict=True)]
    return torch.tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in sides])


def grid_anchors(anchors: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return anchors [H·W·A, 4] at every cell's corner (x·stride, y·stride), in order y, x, ratio."""
    x = torch.arange(width, device=anchors.device, dtype=torch.float32) * stride
    y = torch.arange(height, device=anchors.device, dtype=torch.float32) * stride
    ys, xs = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([xs, ys, xs, ys], dim=-1)
    return (shifts[:, :, None] + anchors).flatten(0, 2)


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Return boxes [..., 4] moved by deltas (dx, dy, dw, dh) [..., 4]; the two are broadcast. Computes in float32."""
    deltas, boxes = deltas.float(), boxes.float()
    widths, heights = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    x = boxes[..., 0] + 0.5 * widths + deltas[..., 0] / weights[0] * widths
    y = boxes[..., 1] + 0.5 * heights + deltas[..., 1] / weights[1] * heights
    half_w = 0.5 * widths * torch.exp((deltas[..., 2] / weights[2]).clamp(max=DELTA_LIMIT))
    half_h = 0.5 * heights * torch.exp((deltas[..., 3] / weights[3]).clamp(max=DELTA_LIMIT))
    return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], dim=-1)


def encode(targets: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Return the deltas [..., 4] that move `boxes` [..., 4] onto `targets` [..., 4]; inverse of `decode`."""
    widths, heights = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    target_w, target_h = targets[..., 2] - targets[..., 0], targets[..., 3] - targets[..., 1]
    dx = (targets[..., 0] + 0.5 * target_w - boxes[..., 0] - 0.5 * widths) / widths
    dy = (targets[..., 1] + 0.5 * target_h - boxes[..., 1] - 0.5 * heights) / heights
    deltas = torch.stack([dx, dy, (target_w / widths).log(), (target_h / heights).log()], dim=-1)
    return deltas * deltas.new_tensor(weights)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Return boxes [B, ..., 4] clipped to their image; sizes [B, 2] is (height, width) without padding."""
    limits = sizes.flip(-1).to(boxes.dtype).reshape(-1, *[1] * (boxes.dim() - 2), 2)
    limits = torch.cat([limits, limits], dim=-1)
    return torch.minimum(boxes.clamp(min=0), limits)


def area(boxes: Tensor) -> Tensor:
    """Return the areas [...] of boxes [..., 4]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def covered(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return the largest share [N] of each box's own area that lies in one of the regions [K, 4]; K may be 0."""
    low = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1) / area(boxes)[:, None]
    return torch.cat([shared, shared.new_zeros(len(boxes), 1)], 1).amax(1)


def match(iou: Tensor, low: float, high: float, keep_best: bool) -> tuple[Tensor, Tensor]:
    """Assign each of N boxes to one of G targets by IoU [G, N].

    Returns the index of the best target [N] and a label [N]: 1 at `high` or above, 0 below `low`, -1 (ignored)
    between. With `keep_best` each target's best boxes count as 1 whatever their overlap (RPN). G may be 0.
    """
    if iou.shape[0] == 0:
        zeros = iou.new_zeros(iou.shape[1], dtype=torch.int64)
        return zeros, zeros
    best, index = iou.max(dim=0)
    labels = torch.full_like(index, -1)
    labels[best < low] = 0
    labels[best >= high] = 1
    if keep_best:
        labels[(iou == iou.max(dim=1, keepdim=True).values).any(dim=0)] = 1
    return index, labels


def subsample(
    labels: Tensor, count: int, positive_fraction: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return random indices of at most count·fraction positives, and of negatives that fill up to `count`."""
    positive, negative = (labels == 1).nonzero()[:, 0], (labels == 0).nonzero()[:, 0]
    positives = min(len(positive), int(count * positive_fraction))
    negatives = min(len(negative), count - positives)

    def draw(pool: Tensor, wanted: int) -> Tensor:
        return pool[torch.randperm(len(pool), generator=generator, device=pool.device)[:wanted]]

    return draw(positive, positives), draw(negative, negatives)
