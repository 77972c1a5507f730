"""The running mean of a network's weights over training, which predicts better than the last weights do."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


class Average(Generic[Net]):
    """A copy of a network that follows it: new = decay · old + (1 - decay) · network, buffers included.

    The first steps count more (decay is at most (1 + n) / (10 + n) at the n-th), so a random start fades quickly.
    """

    def __init__(self, network: Net, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.source = network

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the network after its step `step` (from 0)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        own = self.network.state_dict()
        for name, tensor in self.source.state_dict().items():
            if tensor.is_floating_point():
                own[name].lerp_(tensor, share)
            else:
                own[name].copy_(tensor)
