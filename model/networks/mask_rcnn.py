"""Mask R-CNN, assembled: backbone → RPN → box head → mask head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config.instance import MaskRCNNConfig, PointRendConfig
from model.networks import box_head, rpn
from model.networks.backbone import Backbone
from model.networks.box_head import BoxHead, Detections
from model.networks.mask_heads import ConvMaskHead, PointRendMaskHead
from model.networks.rpn import RPN, Proposals
from model.pointrend.point_head import PointHead


class MaskRCNN(nn.Module):
    """The network of one configuration. Images are normalised and padded ([B, 3, H, W], multiples of 32)."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.fpn)
        self.rpn = RPN(config)
        self.box_head = BoxHead(config)
        self.mask_head = (
            PointRendMaskHead(config.fpn.channels, config.num_classes, config.mask)
            if isinstance(config.mask, PointRendConfig)
            else ConvMaskHead(config.fpn.channels, config.num_classes, config.mask)
        )

    @property
    def point_head(self) -> PointHead | None:
        """The head that refines masks; None for a 4×conv mask head."""
        return self.mask_head.point

    def propose(self, pyramid: list[Tensor], sizes: Tensor) -> Proposals:
        """Return proposals from P2–P6 and image sizes [B, 2] (height, width without padding)."""
        logits, deltas, anchors = self.rpn(pyramid)
        return self.choose_proposals(logits, deltas, anchors, sizes)

    def choose_proposals(
        self, logits: list[Tensor], deltas: list[Tensor], anchors: list[Tensor], sizes: Tensor
    ) -> Proposals:
        """Return the best proposals from what the RPN gives for each level."""
        limits = self.config.rpn
        return rpn.select(
            logits,
            deltas,
            anchors,
            sizes,
            pre_nms=limits.pre_nms,
            post_nms=limits.post_nms,
            nms_threshold=limits.nms_threshold,
        )

    def detect(self, pyramid: list[Tensor], proposals: Proposals, sizes: Tensor) -> Detections:
        """Return the best boxes of every image, with class and score."""
        logits, deltas = self.classify(pyramid, proposals)
        found = box_head.select(logits, deltas, proposals, sizes, self.config.box)
        return self.refine(pyramid, found, sizes)

    def refine(self, pyramid: list[Tensor], found: Detections, sizes: Tensor) -> Detections:
        """Return the detections with their boxes moved as often as `box.refinements` says; scores and order stay."""
        boxes = found.boxes
        for _ in range(self.config.box.refinements):
            boxes = box_head.refine(self.box_head, pyramid, boxes, found.classes, found.batch, sizes)
        return found._replace(boxes=boxes)

    def classify(self, pyramid: list[Tensor], proposals: Proposals) -> tuple[Tensor, Tensor]:
        """Return the box head's class logits [B, M, K + 1] and deltas [B, M, K, 4] of all proposals [B, M]."""
        images, places = proposals.logits.shape
        batch = torch.arange(images, device=proposals.logits.device)[:, None].expand(images, places)
        logits, deltas = self.box_head(pyramid, proposals.boxes.flatten(0, 1), batch.reshape(-1))
        return logits.unflatten(0, (images, places)), deltas.unflatten(0, (images, places))
