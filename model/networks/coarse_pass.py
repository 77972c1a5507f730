"""The coarse passes: everything before the renderer, as one module of named tensors each. `export` exports them.

A third task adds its pass here (or in a file beside this one) and a line to the table of `networks/build.py`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from model.networks import box_head
from model.networks.mask_heads import expected_precision, own_class
from model.networks.mask_rcnn import MaskRCNN
from model.networks.rpn import Proposals
from model.networks.semantic import SemanticNet
from model.predict.coarse import InstanceCoarse, LabelMapCoarse


class InstanceSteps(NamedTuple):
    """The intermediate results of an instance pass, by which `export` compares a graph with the network."""

    pyramid: list[Tensor]  # P2–P6, [B, C, h, w] each
    objectness: list[Tensor]  # [B, A] of the A anchors of each level
    deltas: list[Tensor]  # [B, A, 4]
    anchors: list[Tensor]  # [A, 4]
    proposals: Proposals  # M of each image
    class_logits: Tensor  # [B, M, K + 1]
    box_deltas: Tensor  # [B, M, K, 4]
    prompt_logits: Tensor  # [Q, K + 1] of the given boxes
    box_scores: Tensor  # [R] before the masks lower the scores
    outputs: InstanceCoarse


class SemanticSteps(NamedTuple):
    """The intermediate results of a semantic pass."""

    features: list[Tensor]  # the pyramid P2–P6, or the trunk's res2–res5
    outputs: LabelMapCoarse


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
        return self.steps(image, size, prompts, prompt_batch, prompt_class).outputs

    def steps(
        self, image: Tensor, size: Tensor, prompts: Tensor, prompt_batch: Tensor, prompt_class: Tensor
    ) -> InstanceSteps:
        """Return the outputs of `forward` with the intermediate results."""
        network = self.network
        pyramid: list[Tensor] = network.backbone(image)
        objectness, deltas, anchors = network.rpn(pyramid)
        proposals = network.choose_proposals(objectness, deltas, anchors, size)
        class_logits, box_deltas = network.classify(pyramid, proposals)
        found = box_head.select(class_logits, box_deltas, proposals, size, network.config.box)
        prompt_logits, _ = network.box_head(pyramid, prompts, prompt_batch)
        chance = prompt_logits.softmax(-1)[:, :-1]
        given = torch.where(prompt_class < 0, chance.argmax(1), prompt_class)
        boxes = torch.cat([found.boxes, prompts])
        box_scores = torch.cat([found.scores, chance.gather(1, given[:, None])[:, 0]])
        classes = torch.cat([found.classes, given])
        batch = torch.cat([found.batch, prompt_batch])
        masks = network.mask_head(pyramid, boxes, batch)
        own = own_class(masks, classes)
        scores = box_scores * expected_precision(own) if network.config.mask_score else box_scores
        point = network.point_head
        if point is None:
            coarse, fine = own.flatten(1)[..., None], own.new_zeros(image.shape[0], 0, 0, 0)
        else:
            coarse, fine = point.project_coarse(masks, classes), point.project_fine(pyramid[0])
        outputs = InstanceCoarse(boxes, scores, classes, batch, coarse, fine)
        return InstanceSteps(
            pyramid,
            objectness,
            deltas,
            anchors,
            proposals,
            class_logits,
            box_deltas,
            prompt_logits,
            box_scores,
            outputs,
        )


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
        return self.steps(image).outputs

    def steps(self, image: Tensor) -> SemanticSteps:
        """Return the outputs of `forward` with the intermediate results."""
        features: list[Tensor] = self.network.backbone(image)
        point = self.network.point_head
        fine = None if point is None else point.project_fine(features[0])
        return SemanticSteps(features, LabelMapCoarse(self.network.head(features), fine))
