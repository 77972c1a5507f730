"""Full-size networks with random weights; as a command, their parity tables for docs/parity.md (minutes each)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from export.measurements import table
from export.write import write_bundle
from model.checkpoints.checkpoint import Checkpoint
from model.config.categories import COCO
from model.config.presets import preset
from model.networks.build import build_network
from model.networks.resnet import Bottleneck

NAMES = ("pointrend_rcnn_r50_fpn", "pointrend_rcnn_r101_fpn", "pointrend_rcnn_x101_fpn", "mask_rcnn_r50_fpn")


def random_checkpoint(name: str, *, finds: bool = True) -> Checkpoint:
    """Return random weights, scaled so that activations keep their size through a hundred layers.

    `finds`: the scores are spread, so that detections pass; otherwise everything is background.
    """
    torch.manual_seed(0)
    config = preset(name)
    network: Any = build_network(config)
    for part in network.modules():
        if isinstance(part, Bottleneck):
            part.conv3.norm.weight.fill_(0.2)
    if finds:
        network.box_head.cls_score.weight.data *= 20
        if network.point_head is not None:
            network.point_head.predictor.weight.data *= 100
    else:
        network.box_head.cls_score.weight.data.zero_()
        network.box_head.cls_score.bias.data[-1] = 10
    return Checkpoint(config, COCO, dict(network.state_dict()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for each in NAMES:
            report = write_bundle(random_checkpoint(each), Path(folder) / each, name=each, source={})
            print(f"{each}\n{table(report)}\n", flush=True)
