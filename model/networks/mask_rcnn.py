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
        """P2–P6 and image sizes [B, 2] (height, width without padding) → proposals."""
        limits = self.config.rpn
        logits, deltas, anchors = self.rpn(pyramid)
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
        """The best boxes of every image, with class and score."""
        images, places = proposals.logits.shape
        batch = torch.arange(images, device=sizes.device)[:, None].expand(images, places).reshape(-1)
        logits, deltas = self.box_head(pyramid, proposals.boxes.flatten(0, 1), batch)
        return box_head.select(
            logits.unflatten(0, (images, places)),
            deltas.unflatten(0, (images, places)),
            proposals,
            sizes,
            self.config.box,
        )
