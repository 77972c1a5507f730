"""Predictors of networks that PyTorch runs; a server's are of bundles (export/bundle.py)."""

from __future__ import annotations

import copy

from torch import Tensor

from model.categories import Category
from model.checkpoint import Checkpoint
from model.coarse import Coarse
from model.coarse_pass import CoarsePass
from model.mask_heads import PointRendMaskHead
from model.predict import Predictor
from model.rcnn import MaskRCNN, build


def eager_predictor(checkpoint: Checkpoint) -> Predictor:
    """Of a checkpoint."""
    return predictor_of(build(checkpoint.config, checkpoint.tensors), checkpoint.categories)


def predictor_of(network: MaskRCNN, categories: tuple[Category, ...]) -> Predictor:
    """Of a network, which it puts into evaluation mode: the coarse pass runs where the network is."""
    device = next(network.parameters()).device
    coarse, head = CoarsePass(network), network.mask_head

    def run(*given: Tensor) -> Coarse:
        return Coarse(*(part.cpu() for part in coarse(*(part.to(device) for part in given))))

    # The renderer runs on the CPU; a copy, because `cpu` would move the network's own head.
    point = copy.deepcopy(head.point).cpu() if isinstance(head, PointRendMaskHead) else None
    return Predictor(run, point, network.config.preprocessing, categories)
