"""Non-maximum suppression for many independent rows at once, as one operator.

A row is one image's proposals of one level, or its boxes of one class. Rows do not affect each other, so an image's
result does not depend on the rest of its batch (the usual offset for each row would round differently). It is an
operator of its own because ONNX has exactly this operation, into which `export` translates it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("pointrend::nms_rows", mutates_args=())
def nms_rows(boxes: Tensor, scores: Tensor, iou_threshold: float, min_score: float) -> Tensor:
    """Return which boxes are kept, bool [N, M], of boxes [N, M, 4] float32 with scores [N, M].

    Only boxes with a score above `min_score` take part. A box is dropped if its IoU with a better one of its row is
    above `iou_threshold`.
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
