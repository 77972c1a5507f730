"""The running mean of weights."""

from __future__ import annotations

import copy

import torch

from model.training.averaged_weights import averaged_weights
from tests.model import tiny


def test_it_follows_the_network_by_the_formula_also_in_buffers_and_in_a_resumed_run() -> None:
    network = tiny.network()
    network.register_buffer("count", torch.tensor(0))
    expected = copy.deepcopy(network.state_dict())
    average = averaged_weights(network, 0.6)
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        if step == 7:  # stopped, and gone on with
            resumed = averaged_weights(network, 0.6)
            resumed.module.load_state_dict(average.module.state_dict())
            resumed.n_averaged += step
            average = resumed
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor += 1 if tensor.dtype == torch.int64 else torch.randn(tensor.shape, generator=generator)
        average.update_parameters(network)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                expected[name].lerp_(tensor, 1 - decay)
            else:
                expected[name].copy_(tensor)
    found = average.module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_network_itself_is_not_touched_and_the_average_does_not_train() -> None:
    network = tiny.network()
    start = network.rpn.conv.weight.detach().clone()
    average = averaged_weights(network, 0.9)
    with torch.no_grad():
        network.rpn.conv.weight += 1
    average.update_parameters(network)
    torch.testing.assert_close(network.rpn.conv.weight.detach(), start + 1)
    assert not any(p.requires_grad for p in average.parameters())


def test_the_first_steps_count_more() -> None:
    network = tiny.network()
    average = averaged_weights(network, 0.999)
    start = network.rpn.conv.weight.detach().clone()
    with torch.no_grad():
        network.rpn.conv.weight += 1
    average.update_parameters(network)
    torch.testing.assert_close(average.module.rpn.conv.weight, start + 0.9)
