"""Full-size networks with random weights through export: minutes each, `make test-slow`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.bundle import open_bundle
from export.write import write_bundle
from model.categories import COCO
from model.checkpoint import Checkpoint
from model.config import preset
from model.rcnn import MaskRCNN
from model.resnet import Bottleneck


def random_checkpoint(name: str) -> Checkpoint:
    """Random weights, scaled so that activations keep their size through a hundred layers."""
    torch.manual_seed(0)
    network = MaskRCNN(preset(name))
    for part in network.modules():
        if isinstance(part, Bottleneck):
            part.conv3.norm.weight.fill_(0.2)
    network.box_head.cls_score.weight.data *= 20  # some classes must pass the score threshold
    if name.startswith("pointrend"):
        network.mask_head.point.predictor.weight.data *= 100
    return Checkpoint(network.config, COCO, dict(network.state_dict()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["pointrend_rcnn_r50_fpn", "pointrend_rcnn_r101_fpn", "pointrend_rcnn_x101_fpn", "mask_rcnn_r50_fpn"],
)
def test_export_is_the_network(name: str, tmp_path: Path) -> None:
    """Batches of 1 and 3, several sizes, an empty image, 800×1067 pixels; see export/parity.py."""
    report = write_bundle(random_checkpoint(name), tmp_path / name, name=name, source={})
    assert report["passed"]
    assert {case["images"] for case in report["cases"]} == {1, 3}
    assert open_bundle(tmp_path / name).manifest.name == name


@pytest.mark.slow
def test_no_detections(tmp_path: Path) -> None:
    """Untrained heads score every class near 1/81: nothing passes, and everything still runs."""
    torch.manual_seed(0)
    network = MaskRCNN(preset("pointrend_rcnn_r50_fpn"))
    for part in network.modules():
        if isinstance(part, Bottleneck):
            part.conv3.norm.weight.fill_(0.2)
    checkpoint = Checkpoint(network.config, COCO, dict(network.state_dict()))
    report = write_bundle(checkpoint, tmp_path / "none", name="none", source={}, full_size=False)
    assert report["passed"]
    assert all(case["detections"] == 0 for case in report["cases"])
