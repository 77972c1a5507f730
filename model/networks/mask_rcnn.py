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

    def forward(self, image: Tensor, sizes: Tensor) -> tuple[list[Tensor], Detections, Tensor]:
        """Pyramid, detections, and their mask logits (coarse [R, K, 7, 7], or 28×28 of the 4×conv head)."""
        pyramid: list[Tensor] = self.backbone(image)
        found = self.detect(pyramid, self.propose(pyramid, sizes), sizes)
        return pyramid, found, self.mask_head(pyramid, found.boxes, found.batch)


def build(config: MaskRCNNConfig, tensors: dict[str, Tensor] | None = None) -> MaskRCNN:
    """A network in evaluation mode, with the given weights (every name and shape must fit) or random ones."""
    network = MaskRCNN(config)
    if tensors is not None:
        network.load_state_dict(tensors)
    return network.eval()
