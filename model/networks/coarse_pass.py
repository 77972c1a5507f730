"""The coarse passes: everything before the renderer, as one module of named tensors each. `export` exports them.

A third task adds its pass here (or in a file beside this one) and a line to the table of `networks/build.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from model.networks.mask_heads import expected_precision, own_class
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from model.predict.coarse import InstanceCoarse, LabelMapCoarse


class InstancePass(nn.Module):
    """Detector and coarse mask head, with the linear parts of the point head folded in. R may be 0."""

    inputs: ClassVar = ("image", "size", "prompts", "prompt_batch", "prompt_class")

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(
        self, image: Tensor, size: Tensor, prompts: Tensor, prompt_batch: Tensor, prompt_class: Tensor
    ) -> InstanceCoarse:
        """Return the regions of a batch of images [B, 3, H, W], normalised and padded.

        size [B, 2] is (height, width) without padding. Boxes that the caller brings: prompts [Q, 4] in
        network-input pixels, clipped; prompt_batch [Q]; prompt_class [Q], where -1 lets the box head choose the class.
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
        masks = network.mask_head(pyramid, boxes, batch)
        own = own_class(masks, classes)
        if network.config.mask_score:
            scores = scores * expected_precision(own)
        point = network.point_head
        if point is None:
            cells = own.flatten(1)[..., None]
            return InstanceCoarse(
                boxes, scores, classes, batch, cells, cells.new_zeros(image.shape[0], 0, 0, 0)
            )
        coarse = point.project_coarse(masks, classes)
        return InstanceCoarse(boxes, scores, classes, batch, coarse, point.project_fine(pyramid[0]))


class SemanticPass(nn.Module):
    """Base model of semantic segmentation, with the fine part of the point head's first layer folded in.

    The coarse logits are not projected: at a point, a product with K columns costs less than reading D of them.
    """

    inputs: ClassVar = ("image",)

    def __init__(self, network: SemanticNet) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, image: Tensor) -> LabelMapCoarse:
        """Return what label maps are rendered from; image [B, 3, H, W] is normalised and padded."""
        maps = self.network(image)
        point = self.network.point
        return LabelMapCoarse(maps.coarse, None if point is None else point.project_fine(maps.fine))
