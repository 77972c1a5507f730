"""Region proposal network: objectness and box deltas at every anchor, then selection.

All images are handled together: tensors are [images, levels or proposals, …] with a fixed number of places, and
empty places have a score of -inf.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config.instance import MaskRCNNConfig
from model.networks import boxes as box
from model.networks.backbone import STRIDES
from model.networks.layers import conv
from model.networks.nms import nms_rows

NOTHING = float("-inf")
LOWEST = -1e30  # below every real score, above NOTHING


class Proposals(NamedTuple):
    """boxes [B, M, 4] in input pixels, logits [B, M] descending; -inf marks an empty place."""

    boxes: Tensor
    logits: Tensor


class RPN(nn.Module):
    """One 3×3 convolution and two 1×1 heads, shared by P2–P6."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        channels, ratios = config.fpn.channels, config.rpn.aspect_ratios
        self.steps = config.rpn.steps
        self.conv = conv(channels, channels, 3, padding=1, std=0.01)
        self.objectness = conv(channels, len(ratios), 1, std=0.01)
        self.deltas = conv(channels, 4 * len(ratios), 1, std=0.01)
        for i, size in enumerate(config.rpn.anchor_sizes):
            self.register_buffer(f"anchors{i + 2}", box.cell_anchors(size, ratios), persistent=False)

    def forward(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return logits [B, A], deltas [B, A, 4] and anchors [A, 4] of each level P2–P6, in order y, x, ratio.

        There are anchors at every n-th cell of a level, as `RPNConfig.steps` says.
        """
        logits, deltas, anchors = [], [], []
        for i, (features, step) in enumerate(zip(pyramid, self.steps, strict=True)):
            hidden = F.relu(F.conv2d(features, self.conv.weight, self.conv.bias, stride=step, padding=1))
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1).float())
            moves = self.deltas(hidden).permute(0, 2, 3, 1).unflatten(-1, (-1, 4))
            deltas.append(moves.flatten(1, 3).float())
            height, width = hidden.shape[-2:]
            cell = self.get_buffer(f"anchors{i + 2}")
            anchors.append(box.grid_anchors(cell, height, width, STRIDES[i] * step))
        return logits, deltas, anchors


def select(
    logits: list[Tensor],
    deltas: list[Tensor],
    anchors: list[Tensor],
    sizes: Tensor,
    *,
    pre_nms: int,
    post_nms: int,
    nms_threshold: float,
) -> Proposals:
    """Return proposals as the reference chooses them.

    These are the best `pre_nms` of each level by logit, clipped, after NMS within each level, and of these the best
    `post_nms` of each image. sizes [B, 2] is (height, width) without padding. Boxes without area after clipping are
    dropped.
    """
    level_boxes, level_logits = [], []
    for scores, moves, places in zip(logits, deltas, anchors, strict=True):
        # Padding to a fixed number keeps top-k free of data-dependent sizes (small levels have fewer anchors).
        padded = F.pad(scores, (0, pre_nms), value=NOTHING)
        best, index = padded.topk(pre_nms, dim=1)
        index = torch.where(best > LOWEST, index, torch.zeros_like(index))
        chosen = moves.gather(1, index[..., None].expand(-1, -1, 4))
        boxes = box.clip(box.decode(chosen, places[index], box.RPN_WEIGHTS), sizes)
        widths, heights = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
        usable = (widths > 0) & (heights > 0) & torch.isfinite(best)
        level_boxes.append(torch.where(usable[..., None], boxes, torch.zeros_like(boxes)))  # no NaN passes
        level_logits.append(torch.where(usable, best, torch.full_like(best, NOTHING)))
    boxes, scores = torch.stack(level_boxes, dim=1), torch.stack(level_logits, dim=1)  # [B, L, pre_nms]
    keep = nms_rows(boxes.flatten(0, 1), scores.flatten(0, 1), nms_threshold, LOWEST)
    kept = torch.where(keep, scores.flatten(0, 1), torch.full_like(scores.flatten(0, 1), NOTHING))
    best, index = kept.reshape(scores.shape[0], -1).topk(min(post_nms, len(logits) * pre_nms), dim=1)
    return Proposals(boxes.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 4)), best)
