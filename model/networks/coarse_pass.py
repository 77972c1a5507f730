"""The coarse passes: everything before the renderer, as one module of named tensors each. `export` exports them.

A box pass is the part of an instance pass that depends on given boxes: it reads the features of an earlier pass.

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
from model.predict.coarse import FEATURES, BoxCoarse, InstanceCoarse, LabelMapCoarse


class InstanceSteps(NamedTuple):
    """The intermediate results of an instance pass, by which `export` compares a graph with the network."""

    pyramid: list[Tensor]  # P2–P6, [B, C, h, w] each
    objectness: list[Tensor]  # [B, A] of the A anchors of each level
    deltas: list[Tensor]  # [B, A, 4]
    anchors: list[Tensor]  # [A, 4]
    proposals: Proposals  # M of each image
    class_logits: Tensor  # [B, M, K + 1]
    box_deltas: Tensor  # [B, M, K, 4]
    chosen_boxes: Tensor  # [D, 4] of the detections, before they are refined
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
        chosen = box_head.select(class_logits, box_deltas, proposals, size, network.config.box)
        found = network.refine(pyramid, chosen, size)
        given = classified(network, pyramid, prompts, prompt_batch, prompt_class)
        boxes = torch.cat([found.boxes, prompts])
        box_scores = torch.cat([found.scores, given.scores])
        classes = torch.cat([found.classes, given.classes])
        batch = torch.cat([found.batch, prompt_batch])
        scores, coarse = masked(network, pyramid, boxes, batch, classes, box_scores)
        point = network.point_head
        fine = coarse.new_zeros(image.shape[0], 0, 0, 0) if point is None else point.project_fine(pyramid[0])
        outputs = InstanceCoarse(boxes, scores, classes, batch, coarse, fine)
        return InstanceSteps(
            pyramid,
            objectness,
            deltas,
            anchors,
            proposals,
            class_logits,
            box_deltas,
            chosen.boxes,
            given.logits,
            box_scores,
            outputs,
        )


class BoxPass(nn.Module):
    """What an instance pass makes of given boxes, from the features of one image. Q may be 0."""

    inputs: ClassVar = (*FEATURES, "prompts", "prompt_class")

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(
        self, p2: Tensor, p3: Tensor, p4: Tensor, p5: Tensor, prompts: Tensor, prompt_class: Tensor
    ) -> BoxCoarse:
        """Return the regions of given boxes; features [1, C, h, w], the others as in `InstancePass.forward`."""
        pyramid, batch = [p2, p3, p4, p5], torch.zeros_like(prompt_class)
        given = classified(self.network, pyramid, prompts, batch, prompt_class)
        scores, coarse = masked(self.network, pyramid, prompts, batch, given.classes, given.scores)
        return BoxCoarse(scores, given.classes, coarse)


class Classified(NamedTuple):
    """The box head's opinion of Q given boxes."""

    logits: Tensor  # [Q, K + 1]
    classes: Tensor  # [Q] those that were given, or the most probable ones
    scores: Tensor  # [Q] their probabilities


def classified(
    network: MaskRCNN, pyramid: list[Tensor], prompts: Tensor, batch: Tensor, prompt_class: Tensor
) -> Classified:
    """Return the classes and scores of given boxes [Q, 4] in images batch [Q]."""
    logits, _ = network.box_head(pyramid, prompts, batch)
    chance = logits.softmax(-1)[:, :-1]
    classes = torch.where(prompt_class < 0, chance.argmax(1), prompt_class)
    return Classified(logits, classes, chance.gather(1, classes[:, None])[:, 0])


def masked(
    network: MaskRCNN,
    pyramid: list[Tensor],
    boxes: Tensor,
    batch: Tensor,
    classes: Tensor,
    box_scores: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the scores [R] and the coarse predictions [R, s², …] of regions, as `InstanceCoarse` has them."""
    masks = network.mask_head(pyramid, boxes, batch)
    own = own_class(masks, classes)
    scores = box_scores * expected_precision(own) if network.config.mask_score else box_scores
    point = network.point_head
    return scores, own.flatten(1)[..., None] if point is None else point.project_coarse(masks, classes)


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
