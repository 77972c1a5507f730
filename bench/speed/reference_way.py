"""The published way to do the same work, written plainly. `python -m bench` compares ours with it.

All K classes go through every level, features are concatenated and read per point from the unprojected maps, masks
are pasted into full-size bitmaps and encoded from those, as detectron2's projects/PointRend does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

from model.networks.mask_heads import own_class
from model.networks.mask_rcnn import MaskRCNN
from model.pointrend.point_head import PointHead
from model.pointrend.points import class_uncertainty, most_uncertain, regular_grid, sample, to_image


@torch.inference_mode()
def regions(network: MaskRCNN, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return P2 [1, C, H, W], and the given boxes [R, 4] with their coarse logits [R, K, 7, 7], of one image.

    inputs: those of a coarse pass (`InstancePass`). The image is searched for objects as well, as the pass does it.
    """
    pyramid: list[Tensor] = network.backbone(inputs["image"])
    network.detect(pyramid, network.propose(pyramid, inputs["size"]), inputs["size"])
    boxes = inputs["prompts"]
    network.box_head(pyramid, boxes, inputs["prompt_batch"])
    return pyramid[0], boxes, network.mask_head(pyramid, boxes, inputs["prompt_batch"])


@torch.inference_mode()
def masks(network: MaskRCNN, inputs: Mapping[str, Tensor], side: int, points: int) -> tuple[Tensor, Tensor]:
    """Return the given boxes [R, 4] of one image, and the probabilities [R, side, side] of their masks."""
    features, boxes, coarse = regions(network, inputs)
    assert network.point_head is not None
    logits = subdivide(features, coarse, boxes, inputs["prompt_class"], network.point_head, side, points)
    return boxes, logits.sigmoid()


@torch.inference_mode()
def subdivide(
    features: Tensor, coarse: Tensor, boxes: Tensor, classes: Tensor, head: PointHead, side: int, points: int
) -> Tensor:
    """Return logits [R, side, side] of the regions' classes, from P2 [1, C, H, W] and coarse logits [R, K, 7, 7]."""
    size = torch.tensor([features.shape[3] * 4, features.shape[2] * 4], device=features.device)

    def evaluate(places: Tensor) -> Tensor:
        image_points = to_image(places, boxes) / size
        fine = sample(features, image_points.reshape(1, -1, 2))[0]
        fine = fine.T.reshape(*places.shape[:2], -1)
        logits: Tensor = head(fine, sample(coarse, places).transpose(1, 2)).transpose(1, 2)
        return logits

    count = len(boxes)
    logits = evaluate(regular_grid(28, features.device).expand(count, -1, 2)).reshape(count, -1, 28, 28)
    while logits.shape[-1] < side:
        logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        cells, places = most_uncertain(class_uncertainty(own_class(logits, classes)), points)
        shape = logits.shape
        index = cells[:, None].expand(-1, shape[1], -1)
        logits = logits.flatten(2).scatter(2, index, evaluate(places)).view(shape)
    return own_class(logits, classes)


@torch.inference_mode()
def paste_and_encode(masks: Tensor, boxes: Tensor, width: int, height: int) -> list[dict[str, Any]]:
    """Return the RLE of each mask [s, s] of probabilities, pasted into a bitmap of the whole image."""
    x = torch.arange(width) + 0.5
    y = torch.arange(height) + 0.5
    results = []
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.tolist(), strict=True):
        grid_x = ((x - x0) / (x1 - x0) * 2 - 1)[None, :].expand(height, width)
        grid_y = ((y - y0) / (y1 - y0) * 2 - 1)[:, None].expand(height, width)
        grid = torch.stack([grid_x, grid_y], dim=-1)[None]
        bitmap: NDArray[np.bool_] = (
            F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0] >= 0.5
        ).numpy()
        results.append(coco_mask.encode(np.asfortranarray(bitmap.astype(np.uint8))))
    return results
