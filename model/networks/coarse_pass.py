"""The coarse pass: everything before the renderer, as one function of tensors. This is what `export` exports."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.networks.mask_heads import PointRendMaskHead, expected_precision, own_class
from model.networks.mask_rcnn import MaskRCNN
from model.predict.coarse import InstanceCoarse


class CoarsePass(nn.Module):
    """Detector and coarse mask head with the point head's linear parts folded in. R may be 0."""

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(
        self, image: Tensor, size: Tensor, prompts: Tensor, prompt_batch: Tensor, prompt_class: Tensor
    ) -> InstanceCoarse:
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
        own = own_class(masks, classes)
        if network.config.mask_score:
            scores = scores * expected_precision(own)
        if isinstance(head, PointRendMaskHead):
            coarse = head.point.project_coarse(masks, classes)
            return InstanceCoarse(boxes, scores, classes, batch, coarse, head.point.project_fine(pyramid[0]))
        cells = own.flatten(1)[..., None]
        return InstanceCoarse(boxes, scores, classes, batch, cells, cells.new_zeros(image.shape[0], 0, 0, 0))
