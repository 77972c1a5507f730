"""Predictors of networks that PyTorch runs; a server's are of bundles (export/bundle.py)."""

from __future__ import annotations

import copy

from torch import Tensor

from model.checkpoints.checkpoint import Checkpoint
from model.config.categories import Category
from model.networks.coarse_pass import CoarsePass
from model.networks.mask_heads import PointRendMaskHead
from model.networks.mask_rcnn import MaskRCNN, build
from model.predict.coarse import InstanceCoarse
from model.predict.instance import InstancePredictor


def eager_predictor(checkpoint: Checkpoint) -> InstancePredictor:
    """Of a checkpoint."""
    return predictor_of(build(checkpoint.config, checkpoint.tensors), checkpoint.categories)


def predictor_of(network: MaskRCNN, categories: tuple[Category, ...]) -> InstancePredictor:
    """Of a network, which it puts into evaluation mode: the coarse pass runs where the network is."""
    device = next(network.parameters()).device
    coarse, head = CoarsePass(network), network.mask_head

    def run(*given: Tensor) -> InstanceCoarse:
        return InstanceCoarse(*(part.cpu() for part in coarse(*(part.to(device) for part in given))))

    # The renderer runs on the CPU; a copy, because `cpu` would move the network's own head.
    point = copy.deepcopy(head.point).cpu() if isinstance(head, PointRendMaskHead) else None
    return InstancePredictor(run, point, network.config.preprocessing, categories)
