"""How far our instance masks are from the recorded ones, stage by stage and over the whole chain.

Each function takes a recorded run and returns figures; the tests assert them, and `python -m tests.parity` prints them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from model.masks import rle
from model.masks.paste import paste
from model.networks.build import build_network
from model.networks.mask_heads import PointRendMaskHead
from model.networks.mask_rcnn import MaskRCNN
from model.pointrend.instance import InstanceRender
from model.pointrend.regions import RegionMaps, Source
from model.pointrend.render import advance, render
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.predictor import fine_map
from model.predict.preprocess import network_input
from tests.parity.figures import Figure, Stage, points_figures, resized
from tests.parity.goldens import Golden, load_checkpoint, relative_difference


@torch.inference_mode()
def features(golden: Golden) -> list[Figure]:
    """P2, P6 and the box head from the recorded input and the recorded proposals."""
    net, pyramid = _pyramid(golden)
    boxes = golden["proposals"]
    logits, deltas = net.box_head(pyramid, boxes, torch.zeros(len(boxes)))
    return [
        Figure("P2, relative", relative_difference(pyramid[0][0], golden["features_p2"]), 1e-3),
        Figure("P6, relative", relative_difference(pyramid[4][0], golden["features_p6"]), 1e-3),
        Figure("class logits, relative", relative_difference(logits, golden["box_cls_logits"]), 1e-3),
        Figure("box deltas, relative", relative_difference(deltas.flatten(1), golden["box_deltas"]), 1e-3),
    ]


@torch.inference_mode()
def coarse(golden: Golden) -> list[Figure]:
    """The coarse head from the recorded P2 and boxes."""
    head = _head(_network(golden))
    boxes = golden["raw_boxes"]
    taken: list[torch.Tensor] = []
    head.coarse.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    logits = head([golden["features_p2"][None]], boxes, torch.zeros(len(boxes)))
    return [
        Figure("coarse input, relative", relative_difference(taken[0], golden["coarse_head_input"]), 1e-4),
        Figure("coarse logits, relative", relative_difference(logits, golden["coarse_logits"]), 1e-4),
    ]


@torch.inference_mode()
def levels(golden: Golden) -> list[Figure]:
    """The renderer, each level started from the recorded result of the level before."""
    net = _network(golden)
    point = _head(net).point
    running = renders(golden, net)
    advance(running, point)
    recorded = golden["init_point_logits"].clone()
    figures = [Figure("28×28 logits, relative", relative_difference(_logits(running), recorded), 1e-4)]
    for step in range(3):
        for r, own in zip(running, recorded.clone(), strict=True):
            r.logits = own
        advance(running, point)
        found = _logits(running).flatten(1)
        finer = F.interpolate(recorded[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
        cells, values = golden[f"step{step}_indices"].long(), golden[f"step{step}_point_logits"]
        # A cell was chosen by us where it no longer holds the interpolated logit.
        chosen = (found != finer.flatten(1)).gather(1, cells)
        difference = (found.gather(1, cells) - values).abs()[chosen].max() / values.abs().max()
        side = finer.shape[-1]
        figures += points_figures(f"{side}×{side}", float(chosen.float().mean()), float(difference))
        recorded = finer.flatten(1).scatter(1, cells, values).view_as(finer)
    return figures


@torch.inference_mode()
def rendered(golden: Golden) -> list[Figure]:
    """The renderer from start to end."""
    net = _network(golden)
    running = renders(golden, net)
    render(running, _head(net).point)
    close = (_logits(running) - golden["mask_logits"]).abs() <= 1e-3
    return [Figure("224×224 logits: cells within 1e-3", float(close.float().mean()), 0.999, at_least=True)]


@torch.inference_mode()
def conv_head(golden: Golden) -> list[Figure]:
    """The 4×conv baseline: no features are recorded, so its own ones with the recorded boxes."""
    net, pyramid = _pyramid(golden)
    boxes = golden["raw_boxes"]
    logits = net.mask_head(pyramid, boxes, torch.zeros(len(boxes)))
    return [Figure("28×28 logits, relative", relative_difference(logits, golden["mask_logits_all"]), 1e-3)]


def pasted(golden: Golden) -> list[Figure]:
    """Paste and RLE from the recorded logits and boxes."""
    record = golden.record
    height, width = record["height"], record["width"]
    recorded = golden.arrays
    masks = golden["mask_logits"].sigmoid() if "mask_logits" in recorded else golden["mask_prob"][:, 0]
    worst = 0
    for mask, box, expected in zip(masks, record["pred_boxes"], record["rle"], strict=True):
        counts = rle.encode(paste(mask.numpy(), box, width, height), width, height)
        different = rle.decode(counts, width, height) != _bitmap(expected, width, height)
        worst = max(worst, int(different.sum()))
    return [Figure("pasted mask: different pixels, worst", worst, 1)]


@torch.inference_mode()
def proposals(golden: Golden) -> list[Figure]:
    """The RPN over the whole chain."""
    net, pyramid = _pyramid(golden)
    size = torch.tensor([golden.arrays["resized_bgr"].shape[:2]], dtype=torch.float32)
    found = net.propose(pyramid, size).boxes[0]
    distance = (found[:, None] - golden["proposals"][None]).abs().amax(-1).amin(0)
    return [Figure("proposals within 0.1 px", float((distance <= 0.1).float().mean()), 0.99, at_least=True)]


def chain(golden: Golden, predictor: InstancePredictor) -> list[Figure]:
    """Picture in, masks out."""
    everything = InstanceOptions(resolution=224, points=784, score=0.0, max_instances=1000)
    masks = predictor(golden.image, everything).finish().masks
    record = golden.record
    same = len(masks) == len(record["classes"]) and [m.category for m in masks] == record["classes"]
    if not same:
        return [Figure("detections: same count and classes", 0, 1, at_least=True)]
    boxes = np.abs(np.stack([m.box for m in masks]) - record["pred_boxes"]).max()
    scores = np.abs(np.array([m.score for m in masks]) - record["scores"]).max()
    height, width = record["height"], record["width"]
    over, shares = 0, []
    for mask, expected, area in zip(masks, record["rle"], record["area"], strict=True):
        own = rle.decode(rle.encode(mask.crop(width, height), width, height), width, height)
        different = int((own != _bitmap(expected, width, height)).sum())
        over += different > max(4, 0.01 * area)
        shares.append(different / max(area, 1))
    return [
        Figure("detections: same count and classes", 1, 1, at_least=True),
        Figure("boxes, px", float(boxes), 0.1),
        Figure("scores", float(scores), 1e-3),
        Figure("masks that differ by over max(4 px, 1 %)", over, 0),
        Figure("mask pixels that differ, mean share", float(np.mean(shares)), 0.003),
    ]


POINTREND: tuple[Stage, ...] = (resized, features, coarse, levels, rendered, pasted, proposals)
CONV: tuple[Stage, ...] = (resized, conv_head, pasted)


def renders(golden: Golden, net: MaskRCNN) -> list[InstanceRender]:
    """Return renders from the recorded P2, raw boxes, classes and coarse logits."""
    point = _head(net).point
    fine = fine_map(point.project_fine(golden["features_p2"][None]), 0, 4)
    cells = point.project_coarse(golden["coarse_logits"], golden["raw_classes"])
    maps = RegionMaps(cells, golden["raw_boxes"], golden["raw_classes"])
    return [
        InstanceRender(Source(maps, row, fine), int(category), 224, points=784)
        for row, category in enumerate(maps.classes)
    ]


def _network(golden: Golden) -> MaskRCNN:
    checkpoint = load_checkpoint(golden.model)
    return build_network(checkpoint.config, checkpoint.tensors)


def _head(net: MaskRCNN) -> PointRendMaskHead:
    assert isinstance(net.mask_head, PointRendMaskHead)
    return net.mask_head


def _pyramid(golden: Golden) -> tuple[MaskRCNN, list[torch.Tensor]]:
    net = _network(golden)
    images, _ = network_input([golden.network_input], net.config.preprocessing)
    return net, net.backbone(images)


def _logits(running: list[InstanceRender]) -> torch.Tensor:
    return torch.stack([r.logits for r in running if r.logits is not None])


def _bitmap(recorded: dict[str, str], width: int, height: int) -> NDArray[np.bool_]:
    return rle.decode(rle.decompress(recorded["counts"]), width, height)
