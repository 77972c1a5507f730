"""The coarse pass: everything before the renderer, as one function of tensors. This is what `export` exports."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.mask_heads import PointRendMaskHead, own_class
from model.rcnn import MaskRCNN


class Coarse(NamedTuple):
    """Regions of a batch of images: detections by image, best first, then the given boxes in their order.

    boxes [R, 4] in network-input pixels · scores [R] · classes [R] · batch [R] (which image)
    coarse [R, s², C]: the coarse prediction projected for the point head (see PointHead.project_coarse);
    for a 4×conv head the mask logits of the region's class themselves, C = 1
    fine [B, H/4, W/4, D]: the projected fine map; empty for a 4×conv head
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    batch: Tensor
    coarse: Tensor
    fine: Tensor


class CoarsePass(nn.Module):
    """Detector and coarse mask head with the point head's linear parts folded in. R may be 0."""

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(
        self, image: Tensor, size: Tensor, prompts: Tensor, prompt_batch: Tensor, prompt_class: Tensor
    ) -> Coarse:
        """image [B, 3, H, W] normalised and padded · size [B, 2] (height, width) without padding.

        Boxes that the caller brings: prompts [Q, 4] in network-input pixels, clipped; prompt_batch [Q];
        prompt_class [Q], -1 lets the box head choose the class.
        """
        network = self.network
        pyramid: list[Tensor] = network.backbone(image)
        found = network.detect(pyramid, network.propose(pyramid, size), size)
        logits, _ = network.box_head(pyramid, prompts, prompt_batch)
        chance = logits.softmax(-1)[:, :-1]
        given = torch.where(prompt_class < 0, chance.argmax(1), prompt_class)
        boxes = torch.cat([found.boxes, prompts])
        scores = torch.cat([found.scores, chance.gather(1, given[:, None])[:, 0]])
        classes = torch.cat([found.classes, given])
        batch = torch.cat([found.batch, prompt_batch])
        head = network.mask_head
        masks = head(pyramid, boxes, batch)
        if isinstance(head, PointRendMaskHead):
            coarse = head.point.project_coarse(masks, classes)
            return Coarse(boxes, scores, classes, batch, coarse, head.point.project_fine(pyramid[0]))
        own = own_class(masks, classes).flatten(1)[..., None]
        return Coarse(boxes, scores, classes, batch, own, own.new_zeros(image.shape[0], 0, 0, 0))


def no_prompts() -> tuple[Tensor, Tensor, Tensor]:
    """The three prompt arguments for "detect only"."""
    return torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
