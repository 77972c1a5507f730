"""Layers with the reference's initial weights; biases start at 0. And norms that hold still."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, std: float | None = None
) -> nn.Conv2d:
    """A convolution before a ReLU (Kaiming, fan out), or a predictor with normal weights of `std`."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    if std is None:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=std)
    return _no_bias(layer)


def linear(inputs: int, outputs: int, std: float | None = None) -> nn.Linear:
    """A hidden layer (Caffe2's Xavier), or a predictor with normal weights of `std`."""
    layer = nn.Linear(inputs, outputs)
    if std is None:
        nn.init.kaiming_uniform_(layer.weight, a=1)
    else:
        nn.init.normal_(layer.weight, std=std)
    return _no_bias(layer)


def hold_statistics(network: nn.Module) -> None:
    """Let every BatchNorm normalise by its running statistics, as it will at prediction; these stay as they are."""
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def _no_bias(layer: Layer) -> Layer:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
