"""Non-maximum suppression for many independent rows at once, as one operator.

A row is one image's proposals of one level, or its boxes of one class. Rows never touch, so an image's
result does not depend on its batch mates (an offset per row, the usual trick, would round differently).
It is an operator of its own because ONNX has exactly this operation; `export` translates it there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("pointrend::nms_rows", mutates_args=())
def nms_rows(boxes: Tensor, scores: Tensor, iou_threshold: float, min_score: float) -> Tensor:
    """Which boxes survive: boxes [N, M, 4] float32, scores [N, M] → bool [N, M].

    Only boxes with a score above `min_score` take part; a box goes if it overlaps a better one of its row by
    more than `iou_threshold`.
    """
    keep = torch.zeros_like(scores, dtype=torch.bool)
    candidates = scores > min_score
    for row in candidates.any(dim=1).nonzero()[:, 0]:
        index = candidates[row].nonzero()[:, 0]
        keep[row, index[nms(boxes[row, index], scores[row, index], iou_threshold)]] = True
    return keep


@nms_rows.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, min_score: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)
