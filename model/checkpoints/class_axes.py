"""Which axes of a network's tensors count classes, so that weights move between networks of different classes.

Predictors have rows for each class. A hidden layer of the point head that sees the coarse prediction has, behind its
columns for features, one column for each class. A third task adds its function here and a line to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.config.instance import PointRendConfig
from model.networks.build import Network
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from model.pointrend.point_head import PointHead

Pairs = Sequence[tuple[int, int]]  # of classes: index in the given network, index in ours


@dataclass(frozen=True)
class ClassAxis:
    """An axis of `before` + `each` · (number of classes) + `after` entries."""

    before: int = 0
    each: int = 1
    after: int = 0

    def size(self, classes: int) -> int:
        """Return the number of entries for so many classes."""
        return self.before + self.each * classes + self.after

    def places(self, classes: Sequence[int], count: int) -> Tensor:
        """Return the indices of all entries that belong to no class, and of those of the given `classes` of `count`."""
        end = self.size(count)
        rows = [range(self.before)]
        rows += [range(self.before + self.each * c, self.before + self.each * (c + 1)) for c in classes]
        rows += [range(end - self.after, end)]
        return torch.tensor([i for part in rows for i in part], dtype=torch.int64)


Axes = dict[str, dict[int, ClassAxis]]  # by tensor and dimension


def class_axes(network: Network) -> Axes:
    """Return the axes that count classes, by tensor and dimension."""
    return _AXES[network.config.task](network)


def copy_classes(
    given: Tensor, own: Tensor, axes: Mapping[int, ClassAxis], classes: tuple[int, int], pairs: Pairs
) -> Tensor | None:
    """Return `own` with the entries of `given` that belong to no class or to a class of `pairs`.

    `classes` are the numbers of classes of the given and of our network. None if nothing can be copied.
    """
    if given.ndim != own.ndim:
        return None
    sources, targets = [], []
    for dim, (theirs, ours) in enumerate(zip(given.shape, own.shape, strict=True)):
        axis = axes.get(dim, ClassAxis(before=ours, each=0))
        if (theirs, ours) != (axis.size(classes[0]), axis.size(classes[1])):
            return None
        sources.append(axis.places([pair[0] for pair in pairs], classes[0]))
        targets.append(axis.places([pair[1] for pair in pairs], classes[1]))
    if not all(len(places) for places in sources):
        return None
    result = own.clone()
    chosen = given[torch.meshgrid(*sources, indexing="ij")]
    result[torch.meshgrid(*targets, indexing="ij")] = chosen.to(own.device, own.dtype)
    return result


def count_classes(tensors: Mapping[str, Tensor], axes: Axes) -> int:
    """Return the number of classes of the network that `tensors` are of; 0 if they have no predictor of classes."""
    for name, dims in axes.items():
        if name in tensors and 0 in dims:
            axis = dims[0]
            return (tensors[name].shape[0] - axis.before - axis.after) // axis.each
    return 0


def _rows(name: str, each: int = 1, after: int = 0) -> Axes:
    axis = {0: ClassAxis(each=each, after=after)}
    return {f"{name}.weight": axis, f"{name}.bias": axis}


def _point_axes(name: str, head: PointHead, class_agnostic: bool, context: int = 0) -> Axes:
    """Return the axes of a point head whose tensors begin with `name`."""
    predictor = {} if class_agnostic else _rows(f"{name}.predictor")
    widths = [head.fine_channels, *[head.dim] * (len(head.fc) - 1)]
    seeing = widths if head.coarse_each_layer else widths[:1]
    axes: Axes = {
        f"{name}.fc.{i}.weight": {1: ClassAxis(before=width, after=context)} for i, width in enumerate(seeing)
    }
    if head.coarse_each_layer:
        columns = {1: ClassAxis(before=head.dim, after=context)}
        predictor[f"{name}.predictor.weight"] = predictor.get(f"{name}.predictor.weight", {}) | columns
    return axes | predictor


def _instance_axes(network: MaskRCNN) -> Axes:
    # The last row of scores is the background's.
    axes = _rows("box_head.cls_score", after=1) | _rows("box_head.bbox_pred", each=4)
    mask, point = network.config.mask, network.point_head
    if isinstance(mask, PointRendConfig) and point is not None:
        cells = mask.side**2
        axes |= _rows("mask_head.coarse.prediction", each=cells, after=mask.context * cells)
        return axes | _point_axes("mask_head.point", point, mask.class_agnostic, mask.context)
    return axes if mask.class_agnostic else axes | _rows("mask_head.predictor")


def _semantic_axes(network: SemanticNet) -> Axes:
    axes, point = _rows("head.predictor"), network.point_head
    return axes if point is None else axes | _point_axes("point", point, class_agnostic=False)


_AXES: Mapping[str, Callable[[Any], Axes]] = {"instance": _instance_axes, "semantic": _semantic_axes}
