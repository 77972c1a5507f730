"""Networks of either task from their configurations, and the coarse passes of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

from torch import Tensor

from model.config.instance import MaskRCNNConfig
from model.config.network import NetworkConfig
from model.config.semantic import SemanticConfig
from model.networks.coarse_pass import BoxPass, InstancePass, SemanticPass
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet

Network = MaskRCNN | SemanticNet
CoarsePass = InstancePass | SemanticPass

# By task: the network of a configuration, and the coarse pass of a network.
_NETWORKS: Mapping[str, Callable[[Any], Network]] = {"instance": MaskRCNN, "semantic": SemanticNet}
_PASSES: Mapping[str, Callable[[Any], CoarsePass]] = {"instance": InstancePass, "semantic": SemanticPass}
_BOX_PASSES: Mapping[str, Callable[[Any], BoxPass]] = {"instance": BoxPass}  # of tasks that have boxes


@overload
def build_network(config: MaskRCNNConfig, tensors: Mapping[str, Tensor] | None = None) -> MaskRCNN: ...
@overload
def build_network(config: SemanticConfig, tensors: Mapping[str, Tensor] | None = None) -> SemanticNet: ...
@overload
def build_network(config: NetworkConfig, tensors: Mapping[str, Tensor] | None = None) -> Network: ...
def build_network(config: NetworkConfig, tensors: Mapping[str, Tensor] | None = None) -> Network:
    """Return the configuration's network in evaluation mode, with the given weights or random ones.

    Raises RuntimeError if the weights' names and shapes are not exactly the network's.
    """
    network = _NETWORKS[config.task](config)
    if tensors is not None:
        network.load_state_dict(tensors)
    return network.eval()


def coarse_pass(network: Network) -> CoarsePass:
    """Return the coarse pass of a network, which it puts into evaluation mode.

    The pass takes the tensors that its `inputs` name, and returns a NamedTuple of model/predict/coarse.py.
    """
    return _PASSES[network.config.task](network)


def box_pass(network: Network) -> BoxPass | None:
    """Return the box pass of a network, which it puts into evaluation mode.

    None: the network has no boxes, or no point head, so that nothing is kept of its pictures.
    """
    make = _BOX_PASSES.get(network.config.task)
    return None if make is None or network.point_head is None else make(network)
