"""The box head of Faster R-CNN: classify proposals, move them, keep the best (background is the last class)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config.instance import BoxHeadConfig, MaskRCNNConfig
from model.networks import boxes as box
from model.networks.layers import linear
from model.networks.nms import nms_rows
from model.networks.roi import pool_pyramid
from model.networks.rpn import LOWEST, NOTHING, Proposals


class Detections(NamedTuple):
    """boxes [R, 4] in input pixels, scores [R], classes [R], batch [R]; by image, then best first."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    batch: Tensor


class BoxHead(nn.Module):
    """Fully connected layers on what RoIAlign reads in each box; one logit a class, four deltas for each class."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        head, classes = config.box, config.num_classes
        self.pool, self.samples = head.pool, head.samples
        widths = [config.fpn.channels * head.pool**2] + [head.fc_dim] * head.num_fc
        self.fc = nn.ModuleList(linear(a, b) for a, b in itertools.pairwise(widths))
        self.cls_score = linear(widths[-1], classes + 1, std=0.01)
        self.bbox_pred = linear(widths[-1], 4 * classes, std=0.001)

    def forward(self, pyramid: list[Tensor], boxes: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits [R, K + 1] and deltas [R, K, 4] of boxes [R, 4] in images batch [R], in float32."""
        x = pool_pyramid(pyramid, boxes, batch, self.pool, self.samples).flatten(1)
        for layer in self.fc:
            x = F.relu(layer(x))
        return self.cls_score(x).float(), self.bbox_pred(x).float().unflatten(1, (-1, 4))


def select(
    logits: Tensor, deltas: Tensor, proposals: Proposals, sizes: Tensor, config: BoxHeadConfig
) -> Detections:
    """Return the best boxes of each image: those with a score above the threshold, after NMS within image and class.

    logits [B, M, K + 1] and deltas [B, M, K, 4] of proposals [B, M]; sizes [B, 2] (height, width) without padding.
    """
    images, places, classes = deltas.shape[:3]
    scores = logits.softmax(dim=-1)[..., :-1]
    moved = box.clip(box.decode(deltas, proposals.boxes[:, :, None], box.BOX_WEIGHTS), sizes)
    usable = (proposals.logits > LOWEST)[..., None] & torch.isfinite(moved).all(-1)
    scores = torch.where(usable, scores, torch.full_like(scores, NOTHING))
    rows = moved.transpose(1, 2).reshape(images * classes, places, 4)
    row_scores = scores.transpose(1, 2).reshape(images * classes, places)
    keep = nms_rows(rows, row_scores, config.nms_threshold, config.score_threshold)
    kept = torch.where(keep, row_scores, torch.full_like(row_scores, NOTHING))
    best, index = kept.reshape(images, -1).topk(min(config.max_detections, classes * places), dim=1)
    image, rank = (best > LOWEST).nonzero(as_tuple=True)
    chosen = index[image, rank]
    return Detections(
        rows.reshape(images, -1, 4)[image, chosen],
        best[image, rank],
        torch.div(chosen, places, rounding_mode="floor"),
        image,
    )


def refine(
    head: BoxHead, pyramid: list[Tensor], boxes: Tensor, classes: Tensor, batch: Tensor, sizes: Tensor
) -> Tensor:
    """Return boxes [R, 4] in images batch [R], moved by what the head predicts for their classes [R], and clipped.

    sizes [B, 2] is (height, width) without padding. A box stays where the prediction is not finite.
    """
    _, deltas = head(pyramid, boxes, batch)
    own = deltas.gather(1, classes[:, None, None].expand(-1, 1, 4))[:, 0]
    moved = box.clip(box.decode(own, boxes, box.BOX_WEIGHTS), sizes[batch])
    return torch.where(torch.isfinite(moved).all(1, keepdim=True), moved, boxes)
