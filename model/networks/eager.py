"""Predictors of networks that PyTorch runs. A server's predictors are of bundles (export/bundle.py)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, overload

from torch import Tensor

from model.config.categories import Category
from model.masks.palette import Colour, default_palette
from model.networks.build import CoarsePass, Network, box_pass, coarse_pass
from model.networks.coarse_pass import BoxPass, InstancePass
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from model.pointrend.point_head import PointHead
from model.predict.coarse import FEATURES
from model.predict.instance import InstancePredictor
from model.predict.kept.boxes import BoxRuns
from model.predict.label_map import LabelMapPredictor
from model.predict.predictor import Run

Palette = tuple[Colour, ...]


@overload
def predictor_of(
    network: MaskRCNN, categories: tuple[Category, ...], palette: Palette = ()
) -> InstancePredictor: ...
@overload
def predictor_of(
    network: SemanticNet, categories: tuple[Category, ...], palette: Palette = ()
) -> LabelMapPredictor: ...
@overload
def predictor_of(
    network: Network, categories: tuple[Category, ...], palette: Palette = ()
) -> InstancePredictor | LabelMapPredictor: ...
def predictor_of(
    network: Network, categories: tuple[Category, ...], palette: Palette = ()
) -> InstancePredictor | LabelMapPredictor:
    """Return the predictor of a network, which is put into evaluation mode and stays on its device.

    The coarse pass runs where the network is. The renderer runs on the CPU, with a copy of the point head.
    """
    run = eager_run(coarse_pass(network))
    head = copy.deepcopy(network.point_head)  # a copy, because `cpu` would move the network's own head
    predictor: InstancePredictor | LabelMapPredictor = _PREDICTORS[network.config.task](
        run, None if head is None else head.cpu(), network, categories, palette
    )
    return predictor


def eager_run(coarse: CoarsePass | BoxPass) -> Run:
    """Return the pass as a function of named tensors: it takes what it needs of them, and gives CPU tensors."""
    device = next(coarse.parameters()).device

    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = coarse(*(given[name].to(device) for name in coarse.inputs))
        return {name: value.cpu() for name, value in outputs._asdict().items() if value is not None}

    return run


def box_runs(network: MaskRCNN) -> BoxRuns | None:
    """Return the passes with which boxes of kept pictures are segmented; None without a point head."""
    coarse, boxes = InstancePass(network), box_pass(network)
    if boxes is None:
        return None
    device = next(coarse.parameters()).device

    def features(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        steps = coarse.steps(*(given[name].to(device) for name in coarse.inputs))
        outputs = {name: value for name, value in steps.outputs._asdict().items() if value is not None}
        levels = dict(zip(FEATURES, steps.pyramid, strict=False))
        return {name: value.cpu() for name, value in (outputs | levels).items()}

    return BoxRuns(features, eager_run(boxes))


def _instance(
    run: Run, head: PointHead | None, network: MaskRCNN, categories: tuple[Category, ...], palette: Palette
) -> InstancePredictor:
    return InstancePredictor(run, head, network.config.preprocessing, categories, box_runs=box_runs(network))


def _label_map(
    run: Run, head: PointHead | None, network: SemanticNet, categories: tuple[Category, ...], palette: Palette
) -> LabelMapPredictor:
    config = network.config
    return LabelMapPredictor(
        run,
        head,
        config.preprocessing,
        categories,
        palette or default_palette(len(categories)),
        config.base.stride,
    )


_PREDICTORS: Mapping[str, Callable[..., Any]] = {"instance": _instance, "semantic": _label_map}
