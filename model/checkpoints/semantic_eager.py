"""Semantic networks that PyTorch runs: their coarse pass, and predictors of them (a server's are of bundles)."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from model.checkpoints.checkpoint import SemanticCheckpoint
from model.config.categories import Category
from model.masks.palette import Colour
from model.networks.semantic import SemanticNet, build_semantic
from model.predict.label_map import LabelMapPredictor
from model.predict.semantic_coarse import LabelMapCoarse


class SemanticPass(nn.Module):
    """Image [B, 3, H, W], normalised and padded → `LabelMapCoarse`; the same module is evaluated and exported.

    The coarse logits are not projected: at a point, a product with K columns costs less than reading D of them.
    """

    def __init__(self, network: SemanticNet) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, image: Tensor) -> LabelMapCoarse:
        maps = self.network(image)
        point = self.network.point
        return LabelMapCoarse(maps.coarse, None if point is None else point.project_fine(maps.fine))


def eager_semantic(checkpoint: SemanticCheckpoint) -> LabelMapPredictor:
    """Of a checkpoint."""
    network = build_semantic(checkpoint.config, checkpoint.tensors)
    return semantic_predictor_of(network, checkpoint.categories, checkpoint.palette)


def semantic_predictor_of(
    network: SemanticNet, categories: tuple[Category, ...], palette: tuple[Colour, ...]
) -> LabelMapPredictor:
    """Of a network, which it puts into evaluation mode: the coarse pass runs where the network is."""
    device = next(network.parameters()).device
    coarse = SemanticPass(network)

    def run(images: Tensor) -> LabelMapCoarse:
        logits, fine = coarse(images.to(device))
        return LabelMapCoarse(logits.cpu(), None if fine is None else fine.cpu())

    # The renderer runs on the CPU; a copy, because `cpu` would move the network's own head.
    head = None if network.point is None else copy.deepcopy(network.point).cpu()
    config = network.config
    return LabelMapPredictor(run, head, config.preprocessing, categories, palette, config.base.stride)
