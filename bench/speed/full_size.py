"""A full-size network from encoded image to RLE, beside the published way with the same weights.

The weights are random, which changes nothing of the time: both ways are given the same boxes to segment, so the number
of masks does not depend on what is detected. Both run their detection nevertheless.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.speed import reference_way
from bench.speed.row import Row, in_turns
from export.execution import choose_execution
from export.graph import export_staged, prune
from export.session import open_graph
from model.config.categories import COCO
from model.config.presets import preset
from model.masks import rle
from model.networks.build import build_network, coarse_pass
from model.networks.mask_rcnn import MaskRCNN
from model.networks.resnet import Bottleneck
from model.pointrend.point_head import PointHead
from model.predict.images import decode
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.predictor import Pixels, Prompt
from model.predict.resize import resize

PRESET, LABEL = "pointrend_rcnn_r50_fpn", "R50"
SIDE, POINTS = 224, 784


def rows(picture: Path, threads: int, masks: int = 20, repeats: int = 3) -> list[Row]:
    """Time the network of `PRESET` on a picture."""
    network = random_network()
    served = exported(network, threads)
    data = picture.read_bytes()
    options = InstanceOptions(SIDE, POINTS, prompts=boxes(masks, data, network.config.num_classes))
    inputs = served.inputs([served.prepare(_pixels(data), options)])
    found = in_turns(
        {
            "ours": partial(segment, served, data, options),
            "pass": lambda: served.run(inputs),
            "theirs": partial(reference_segment, network, served, data, options),
            "their pass": partial(reference_way.regions, network, inputs),
        },
        repeats,
    )
    edge = network.config.preprocessing.short_edge
    what = f"{LABEL}, {edge} px"
    return [
        Row(
            f"{what}, {masks} masks: {picture.name} → RLE",
            found["ours"],
            "published way, eager PyTorch, same weights",
            found["theirs"],
        ),
        Row(f"{what}: coarse pass", found["pass"], "eager PyTorch", found["their pass"]),
    ]


def random_network() -> MaskRCNN:
    """Return the network with random weights, scaled so that activations keep their size through all layers."""
    torch.manual_seed(0)
    network = build_network(preset(PRESET))
    assert isinstance(network, MaskRCNN)
    for part in network.modules():
        if isinstance(part, Bottleneck):
            torch.nn.init.constant_(part.conv3.norm.weight, 0.2)
    assert network.point_head is not None
    network.point_head.predictor.weight.data *= 100
    return network.eval().requires_grad_(False)


def exported(network: MaskRCNN, threads: int) -> InstancePredictor:
    """Return the predictor of the network's graph, as it is served."""
    execution = choose_execution("cpu", threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        staged, graph = Path(folder) / "staged.onnx", Path(folder) / "coarse.onnx"
        prune(staged, graph, export_staged(coarse_pass(network), staged))
        run = open_graph(graph, execution)
    head = network.point_head
    assert isinstance(head, PointHead)
    head.precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[execution.head_precision]
    return InstancePredictor(run, head, network.config.preprocessing, COCO)


def segment(served: InstancePredictor, data: bytes, options: InstanceOptions) -> list[str]:
    """Return the masks of an encoded image as compressed run lengths."""
    image = _pixels(data)
    height, width, _ = image.shape
    masks = served(image, options).finish().parts
    return [rle.compress(rle.counts_of(mask.runs(width, height), width, height)) for mask in masks]


def reference_segment(
    network: MaskRCNN, served: InstancePredictor, data: bytes, options: InstanceOptions
) -> list[dict[str, Any]]:
    """Return the same by the published way, as pycocotools encodes it."""
    image = _pixels(data)
    height, width, _ = image.shape
    one = served.prepare_resized(resize(image, served.preprocessing), (width, height), options)
    boxes, probabilities = reference_way.masks(network, served.inputs([one]), SIDE, POINTS)
    return reference_way.paste_and_encode(probabilities, one.to_image(boxes), width, height)


def boxes(count: int, data: bytes, classes: int) -> tuple[Prompt, ...]:
    """Return boxes of a tenth to a half of the picture's sides, of all classes in turn."""
    height, width, _ = _pixels(data).shape
    random = np.random.default_rng(0)
    corner, size = random.uniform(0, 0.5, (count, 2)), random.uniform(0.1, 0.5, (count, 2))
    ends = np.concatenate([corner, corner + size], 1) * [width, height, width, height]
    return tuple(Prompt((x0, y0, x1, y1), k % classes) for k, (x0, y0, x1, y1) in enumerate(ends.tolist()))


def _pixels(data: bytes) -> Pixels:
    return decode(data, max_pixels=100_000_000).pixels
