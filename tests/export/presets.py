"""Every preset in a small version with random weights, and its graph with other weights put in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import ir
from torch import Tensor, nn

from export import parity
from export.execution import Execution
from export.graph import prune, trace_staged
from export.measurements import Report
from export.session import GraphPass, open_session
from export.stages import named
from export.trials import inputs, picture
from model.config.instance import MaskRCNNConfig
from model.config.network import NetworkConfig
from model.config.parts import Preprocessing, ResNetConfig, TimmConfig
from model.config.presets import PRESETS
from model.config.semantic import SemanticConfig
from model.networks.build import CoarsePass, build_network, coarse_pass
from model.networks.resnet import FrozenBatchNorm
from model.predict.predictor import Run

CLASSES = 8  # at most
NORMS = (FrozenBatchNorm, nn.BatchNorm2d)


def tiny(name: str) -> NetworkConfig:
    """Return a preset with narrow layers and small images; kinds, depths and options stay as they are."""
    return _TINY[PRESETS[name].task](PRESETS[name])


def _tiny_instance(config: MaskRCNNConfig) -> MaskRCNNConfig:
    mask = (
        dataclasses.replace(config.mask, conv_dim=8, fc_dim=32, point_dim=16)
        if config.mask.type == "PointRendMask"
        else dataclasses.replace(config.mask, conv_dim=8)
    )
    return dataclasses.replace(
        config,
        backbone=_tiny_trunk(config.backbone),
        num_classes=min(config.num_classes, CLASSES),
        fpn=dataclasses.replace(config.fpn, channels=16),
        rpn=dataclasses.replace(config.rpn, anchor_sizes=(16, 24, 32, 48, 64), pre_nms=200, post_nms=100),
        box=dataclasses.replace(config.box, fc_dim=32),
        mask=mask,
        preprocessing=_small(config.preprocessing),
    )


def _tiny_semantic(config: SemanticConfig) -> SemanticConfig:
    base = config.base
    base = (
        dataclasses.replace(base, fpn=dataclasses.replace(base.fpn, channels=16), channels=32)
        if base.type == "SemanticFPN"
        else dataclasses.replace(base, channels=16)
    )
    return dataclasses.replace(
        config,
        backbone=_tiny_trunk(config.backbone),
        num_classes=min(config.num_classes, CLASSES),
        base=base,
        point=config.point and dataclasses.replace(config.point, point_dim=16),
        preprocessing=_small(config.preprocessing),
    )


_TINY: Mapping[str, Callable[[Any], NetworkConfig]] = {"instance": _tiny_instance, "semantic": _tiny_semantic}


def _tiny_trunk(trunk: ResNetConfig | TimmConfig) -> ResNetConfig | TimmConfig:
    if trunk.type == "Timm":
        return trunk
    width = trunk.groups if trunk.groups > 1 else 4
    return dataclasses.replace(trunk, stem_channels=8, res2_channels=16, bottleneck=width)


def _small(pixels: Preprocessing) -> Preprocessing:
    return dataclasses.replace(pixels, short_edge=128, long_edge=192)


def random_pass(config: NetworkConfig, seed: int) -> CoarsePass:
    """Return the coarse pass of a network with random weights and random statistics of its norms.

    Scores are spread, so that detections pass, and residual branches are damped, so that values keep their size.
    """
    torch.manual_seed(seed)
    network = build_network(config)
    for part in network.modules():
        if isinstance(part, NORMS):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.0)
            part.bias.data.normal_(0, 0.2)
    tensors = network.state_dict()
    for name, tensor in tensors.items():
        if name.endswith("conv3.norm.weight"):
            tensor.mul_(0.3)
        elif name.endswith(("cls_score.weight", "bbox_pred.weight")):
            tensor.mul_(20)
        elif name.endswith(("prediction.weight", "predictor.weight")):
            tensor.mul_(100)
    return coarse_pass(network)


def batches(config: NetworkConfig) -> list[dict[str, Tensor]]:
    """Return the inputs of passes of different shapes: two pictures, one, and one that is a single row of P5."""
    return [
        inputs([picture(h, w, seed) for seed in range(count)], config.preprocessing)
        for count, h, w in ((2, 64, 96), (1, 96, 64), (1, 20, 160))
    ]


def eager_steps(coarse: CoarsePass) -> Run:
    """Return a pass that PyTorch runs, with its intermediate results: it stands in for a graph."""

    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return named(coarse.steps(**{name: given[name] for name in coarse.inputs}))

    return run


@torch.inference_mode()
def check(right: CoarsePass, staged: Run, shipped: Run) -> Report:
    """Return the parity report of a graph against the right network."""
    network = right.network
    return parity.check(right, staged, shipped, network.point_head, batches(network.config))


def exported(name: str, coarse: CoarsePass, folder: Path) -> tuple[Run, Run]:
    """Export a preset with the weights of `coarse`. Return the graph with its intermediate results, and the pruned one.

    Each preset is traced once: a graph does not depend on the values of its weights until its constants are folded.
    """
    content, outputs = _traced(name)
    model = ir.from_proto(onnx.load_from_string(content))
    weights = {f"coarse.network.{key}": value for key, value in coarse.network.state_dict().items()}
    for key, initializer in model.graph.initializers.items():
        if key in weights:
            initializer.const_value = ir.tensor(weights[key].numpy(), name=key)
    return written(torch.onnx.ONNXProgram(model, None), outputs, folder)


def written(program: torch.onnx.ONNXProgram, outputs: list[str], folder: Path) -> tuple[Run, Run]:
    """Write a traced program as `export_staged` and `prune` do. Return both passes."""
    program.optimize()
    program.save(folder / "staged.onnx")
    prune(folder / "staged.onnx", folder / "shipped.onnx", outputs)
    staged, shipped = (
        GraphPass(open_session(folder / f"{kind}.onnx", Execution(threads=1)))
        for kind in ("staged", "shipped")
    )
    return staged, shipped


@cache
def _traced(name: str) -> tuple[bytes, list[str]]:
    program, outputs = trace_staged(random_pass(tiny(name), 0))
    return program.model_proto.SerializeToString(), outputs
