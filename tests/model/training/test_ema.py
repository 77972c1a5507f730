"""The running mean of weights."""

from __future__ import annotations

import torch

from model.training.ema import Average
from tests.model import tiny


def test_it_follows_the_network_slowly_and_in_buffers_too() -> None:
    network = tiny.network()
    name, buffer = next((n, b) for n, b in network.named_buffers() if n.endswith("running_mean"))
    average = Average(network, 0.9)
    start = network.rpn.conv.weight.detach().clone()
    with torch.no_grad():
        network.rpn.conv.weight += 1
        buffer += 1
    average.update(10_000)
    torch.testing.assert_close(average.network.rpn.conv.weight, start + 0.1)
    torch.testing.assert_close(average.network.get_buffer(name), buffer - 0.9)
    torch.testing.assert_close(
        network.rpn.conv.weight.detach(), start + 1
    )  # the network itself is not touched
    assert not any(p.requires_grad for p in average.network.parameters())


def test_the_first_steps_count_more() -> None:
    network = tiny.network()
    average = Average(network, 0.999)
    start = network.rpn.conv.weight.detach().clone()
    with torch.no_grad():
        network.rpn.conv.weight += 1
    average.update(0)
    torch.testing.assert_close(average.network.rpn.conv.weight, start + 0.9)
