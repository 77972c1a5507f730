"""Networks with one deliberate mistake each, as an exporter may make it: their graphs must not pass."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from model.networks.build import CoarsePass
from tests.export.presets import NORMS


@contextmanager
def swapped_stride(coarse: CoarsePass) -> Iterator[bool]:
    """Exchange the strides of a 1×1 convolution and of the larger one after it."""
    convolutions = [part for part in coarse.network.backbone.modules() if isinstance(part, nn.Conv2d)]
    for first, second in itertools.pairwise(convolutions):
        if first.kernel_size == (1, 1) != second.kernel_size and first.stride != second.stride:
            first.stride, second.stride = second.stride, first.stride
            break
    else:
        raise AssertionError("there is no such pair")
    yield True


@contextmanager
def missing_norm(coarse: CoarsePass) -> Iterator[bool]:
    """Leave out the first norm."""
    network = coarse.network
    names = [name for name, part in network.named_modules() if type(part) in NORMS]
    network.set_submodule(names[0], nn.Identity())
    yield True


@contextmanager
def wrong_anchors(coarse: CoarsePass) -> Iterator[bool]:
    """Turn the anchors of one level: widths become heights."""
    if coarse.network.config.task != "instance":
        yield False
        return
    anchors = coarse.network.rpn.get_buffer("anchors3")
    anchors.copy_(anchors[:, [1, 0, 3, 2]] * 1.05)
    yield True


@contextmanager
def sampling_ratio(coarse: CoarsePass) -> Iterator[bool]:
    """Take one more sample a side in every cell of RoIAlign; one, where their number follows the box."""
    if coarse.network.config.task != "instance":
        yield False
        return

    def wrong(features: Tensor, places: Tensor, side: int, scale: float, ratio: int, aligned: bool) -> Tensor:
        read: Tensor = roi_align(features, places, side, scale, ratio + 1, aligned)
        return read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.networks.roi.roi_align", wrong)
        yield True


@contextmanager
def wrong_threshold(coarse: CoarsePass) -> Iterator[bool]:
    """Let more detections pass that overlap."""
    config = coarse.network.config
    if config.task != "instance":
        yield False
        return
    box = dataclasses.replace(config.box, nms_threshold=0.7)
    coarse.network.config = dataclasses.replace(config, box=box)
    yield True


@contextmanager
def shifted_columns(coarse: CoarsePass) -> Iterator[bool]:
    """Read the matrix of the point head's first layer one column too late."""
    head = coarse.network.point_head
    if head is not None:
        weight = head.get_parameter("fc.0.weight")
        weight.data = torch.roll(weight.data, 1, 1)
    yield head is not None


@contextmanager
def transposed_classes(coarse: CoarsePass) -> Iterator[bool]:
    """Project the coarse masks with the columns of two classes exchanged."""
    head, config = coarse.network.point_head, coarse.network.config
    if head is None or config.task != "instance" or config.num_classes < 2:
        yield False
        return
    weight = head.get_parameter("fc.0.weight").data
    first = head.fine_channels
    weight[:, [first, first + 1]] = weight[:, [first + 1, first]]
    yield True


Mistake = Callable[
    [CoarsePass], Any
]  # a context manager that gives whether the mistake applies to the network
MISTAKES: Mapping[str, Mistake] = {
    mistake.__name__: mistake
    for mistake in (
        swapped_stride,
        missing_norm,
        wrong_anchors,
        sampling_ratio,
        wrong_threshold,
        shifted_columns,
        transposed_classes,
    )
}
