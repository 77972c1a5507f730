"""Predictors of checkpoints that PyTorch runs. A server's predictors are of bundles (export/bundle.py)."""

from __future__ import annotations

from typing import overload

from model.checkpoints.checkpoint import Checkpoint
from model.config.instance import MaskRCNNConfig
from model.config.semantic import SemanticConfig
from model.networks.build import build_network
from model.networks.eager import predictor_of
from model.predict.instance import InstancePredictor
from model.predict.label_map import LabelMapPredictor


@overload
def eager_predictor(checkpoint: Checkpoint[MaskRCNNConfig]) -> InstancePredictor: ...
@overload
def eager_predictor(checkpoint: Checkpoint[SemanticConfig]) -> LabelMapPredictor: ...
@overload
def eager_predictor(checkpoint: Checkpoint) -> InstancePredictor | LabelMapPredictor: ...
def eager_predictor(checkpoint: Checkpoint) -> InstancePredictor | LabelMapPredictor:
    """Return the predictor of a checkpoint, on the CPU. Raises RuntimeError if its tensors do not fit its network."""
    network = build_network(checkpoint.config, checkpoint.tensors)
    return predictor_of(network, checkpoint.categories, checkpoint.palette)
