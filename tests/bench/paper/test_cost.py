"""The counter, against torch's own; and what it says of the heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.paper.cost import cost_table, measure
from bench.paper.counter import Counter, Work, count

X = torch.zeros(2, 6, 9, 12)
OPERATIONS = {
    "convolution": (lambda: F.conv2d(X, torch.zeros(8, 6, 3, 3), torch.zeros(8), 2, 1), 2 * 8 * 5 * 6),
    "grouped": (lambda: F.conv2d(X, torch.zeros(8, 3, 1, 1), groups=2), 2 * 8 * 9 * 12),
    "transposed": (nn.ConvTranspose2d(6, 4, 2, 2).eval().__call__, 2 * 4 * 18 * 24),
    "linear": (lambda: F.linear(X, torch.zeros(5, 12), torch.zeros(5)), 2 * 6 * 9 * 5),
    "linear without bias": (lambda: F.linear(X[0], torch.zeros(5, 12)), 6 * 9 * 5),
    "matmul": (lambda: X @ torch.zeros(2, 6, 12, 7), 2 * 6 * 9 * 7),
    "bmm": (lambda: torch.bmm(X[0], torch.zeros(6, 12, 7)), 6 * 9 * 7),
    "baddbmm": (lambda: torch.baddbmm(torch.zeros(1), X[0], torch.zeros(6, 12, 7)), 6 * 9 * 7),
    "nothing": (lambda: X.relu() + 1, 0),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("inference", [False, True])
def test_work_is_what_torch_counts(name: str, inference: bool) -> None:
    work, activations = OPERATIONS[name]

    def run() -> None:
        with torch.inference_mode(inference):
            work(X) if name == "transposed" else work()  # type: ignore[operator]

    with FlopCounterMode(display=False) as expected, torch.no_grad():
        run()
    assert count(run) == Work(expected.get_total_flops() // 2, activations)


def test_results_do_not_change() -> None:
    layer = nn.Conv2d(6, 4, 3)
    x = torch.randn(2, 6, 9, 12)
    with Counter():
        counted = layer(x)
    assert torch.equal(counted, layer(x))


def test_costs_keep_the_papers_proportions() -> None:
    found = measure(channels=16, classes=5, fc_dim=32, height=20, width=30)
    assert found.fine_conv == Work(64 * found.conv.multiplies, 64 * found.conv.activations)
    level = 784 * ((16 + 5) * (16 * 3 + 5))  # three hidden layers and a predictor, all over D + K inputs
    assert found.level.multiplies - found.coarse.multiplies == level
    assert found.published.multiplies - found.coarse.multiplies == 4 * level
    assert found.coarse.multiplies < found.ours.multiplies < found.published.multiplies
    assert found.projection == Work(20 * 30 * 16 * 16, 20 * 30 * 16)
    saved = found.published.multiplies - found.ours.multiplies
    assert (found.pays_from - 1) * saved <= found.projection.multiplies < found.pays_from * saved
    assert found.share == found.published.multiplies / found.fine_conv.multiplies
    assert len(cost_table(found).splitlines()) == 2 + 7 + 2
