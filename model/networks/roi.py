"""Features inside boxes: RoIAlign over the pyramid, and PointRend's grid of single reads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from model.networks.backbone import STRIDES
from model.networks.boxes import area


def with_batch(boxes: Tensor, batch: Tensor) -> Tensor:
    """Return boxes [R, 4] with their images [R] in front: [R, 5], as torchvision's RoIAlign wants them."""
    return torch.cat([batch.to(boxes.dtype)[:, None], boxes], dim=1)


def pool_pyramid(pyramid: list[Tensor], boxes: Tensor, batch: Tensor, side: int, samples: int = 0) -> Tensor:
    """Return RoIAlign (aligned) over P2–P5, each box from the level of its size: [R, C, side, side].

    A bin has samples×samples reads; with 0, about one for each cell, as in the reference.
    The level is floor(4 + log2(sqrt(area) / 224 + 1e-8)) within 2–5, as in the reference. torchvision's
    MultiScaleRoIAlign is another function: it does not align by half a pixel, and it rounds sizes near a level's
    border differently.
    """
    level = torch.floor(4 + torch.log2(area(boxes).clamp(min=0).sqrt() / 224 + 1e-8)).clamp(2, 5) - 2
    rois = with_batch(boxes, batch)
    pooled, order = [], []
    for i in range(4):
        members = (level == i).nonzero()[:, 0]
        pooled.append(roi_align(pyramid[i], rois[members], side, 1 / STRIDES[i], samples, True))
        order.append(members)
    return torch.cat(pooled)[torch.cat(order).argsort()]


def sample_grid(features: Tensor, boxes: Tensor, batch: Tensor, side: int, stride: int) -> Tensor:
    """Return bilinear reads at the centres of a side×side grid in each box: [R, C, side, side] (paper section 4.2).

    This is RoIAlign with one sample for each cell, except at the map's border: there PointRend's reads fade to zero
    and RoIAlign repeats the border. One ring of zeros around the map makes the two the same.
    """
    ringed = F.pad(features, (1, 1, 1, 1))
    reads: Tensor = roi_align(ringed, with_batch(boxes + stride, batch), side, 1 / stride, 1, True)
    return reads
