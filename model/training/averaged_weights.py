"""The running mean of a network's weights over training, which predicts better than the last weights do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_weights(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of the network that follows it: new = decay · old + (1 - decay) · network, buffers included.

    `update_parameters(network)` is to be called after each step. The first steps count more (decay is at most
    (1 + n) / (10 + n) at the n-th, from 0), so a random start fades quickly. A resumed run adds
    its steps to `n_averaged`.
    """

    @torch.no_grad()
    def follow(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        done = int(count) - 1  # torch counts the start as the first of the averaged
        share = 1 - min(decay, (1 + done) / (10 + done))
        for average, value in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)

    averaged = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
    averaged.requires_grad_(False)
    averaged.n_averaged.fill_(1)  # at 0, torch would begin with a copy of the network after its first step
    return averaged
