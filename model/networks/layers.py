"""Layers with the reference's initial weights (biases start at 0), and norms whose statistics stay as they are."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, std: float | None = None
) -> nn.Conv2d:
    """Return a convolution for a ReLU (Kaiming, fan out), or a predictor whose weights are normal with `std`."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    if std is None:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=std)
    return _no_bias(layer)


def linear(inputs: int, outputs: int, std: float | None = None) -> nn.Linear:
    """Return a hidden layer (Caffe2's Xavier), or a predictor whose weights are normal with `std`."""
    layer = nn.Linear(inputs, outputs)
    if std is None:
        nn.init.kaiming_uniform_(layer.weight, a=1)
    else:
        nn.init.normal_(layer.weight, std=std)
    return _no_bias(layer)


def hold_statistics(network: nn.Module) -> None:
    """Make every BatchNorm normalise by its running statistics, as at prediction, without updating them."""
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def hold_depthwise(network: nn.Module) -> None:
    """Make every depthwise convolution keep its filters. The other convolutions still train."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1:
            part.requires_grad_(False)


def _no_bias(layer: Layer) -> Layer:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
