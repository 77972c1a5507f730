"""Stage by stage on recorded inputs, eager: the tight tolerances of docs/parity.md."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model import rle
from model.mask_heads import own_class
from model.paste import paste
from model.preprocess import network_input, resize
from model.rcnn import MaskRCNN, build
from model.render import FineMap, Render, advance, render
from tests.parity.goldens import ALL, POINTREND, Golden, load, relative_difference


def network(golden: Golden) -> MaskRCNN:
    return build(golden.checkpoint.config, golden.checkpoint.tensors)


def renders(golden: Golden, net: MaskRCNN) -> list[Render]:
    """Renders from the recorded P2, raw boxes, classes and coarse logits."""
    head = net.mask_head.point
    fine = head.project_fine(golden["features_p2"][None])[0]
    height, width, dim = fine.shape
    fine_map = FineMap(fine.reshape(-1, dim), height, width, 4)
    coarse = head.project_coarse(golden["coarse_logits"], golden["raw_classes"])
    return [
        Render(fine_map, own, box, int(category), 224, points=784)
        for own, box, category in zip(coarse, golden["raw_boxes"], golden["raw_classes"], strict=True)
    ]


@pytest.mark.parametrize("name", ALL)
def test_resize_is_byte_equal(name: str) -> None:
    golden = load(name)
    resized = resize(golden.image, golden.checkpoint.config.preprocessing)
    assert np.array_equal(resized[:, :, ::-1], golden.arrays["resized_bgr"])


@pytest.mark.parametrize("name", POINTREND)
@torch.inference_mode()
def test_features_and_box_head(name: str) -> None:
    golden = load(name)
    net = network(golden)
    rgb = torch.from_numpy(golden.arrays["resized_bgr"][:, :, ::-1].copy()).permute(2, 0, 1)
    images, _ = network_input([rgb], golden.checkpoint.config.preprocessing)
    pyramid = net.backbone(images)
    assert relative_difference(pyramid[0][0], golden["features_p2"]) <= 1e-3
    assert relative_difference(pyramid[4][0], golden["features_p6"]) <= 1e-3
    boxes = golden["proposals"]
    logits, deltas = net.box_head(pyramid, boxes, torch.zeros(len(boxes)))
    assert relative_difference(logits, golden["box_cls_logits"]) <= 1e-3
    assert relative_difference(deltas.flatten(1), golden["box_deltas"]) <= 1e-3


@pytest.mark.parametrize("name", POINTREND)
@torch.inference_mode()
def test_coarse_head(name: str) -> None:
    golden = load(name)
    net = network(golden)
    boxes = golden["raw_boxes"]
    taken: list[torch.Tensor] = []
    net.mask_head.coarse.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    logits = net.mask_head([golden["features_p2"][None]], boxes, torch.zeros(len(boxes)))
    assert relative_difference(taken[0], golden["coarse_head_input"]) <= 1e-4
    assert relative_difference(logits, golden["coarse_logits"]) <= 1e-4


@pytest.mark.parametrize("name", POINTREND)
@torch.inference_mode()
def test_renderer_level_by_level(name: str) -> None:
    """Each sparse level starts from the recorded result of the level before."""
    golden = load(name)
    net = network(golden)
    head = net.mask_head.point
    running = renders(golden, net)
    advance(running, head)
    initial = torch.stack([r.logits for r in running])
    assert relative_difference(initial, golden["init_point_logits"]) <= 1e-4
    recorded = golden["init_point_logits"].clone()
    for step in range(3):
        before = [own.clone() for own in recorded]
        for r, own in zip(running, before, strict=True):
            r.logits = own
        advance(running, head)
        found = torch.stack([r.logits for r in running]).flatten(1)
        upsampled = torch.nn.functional.interpolate(
            recorded[None], scale_factor=2, mode="bilinear", align_corners=False
        )[0]
        cells, values = golden[f"step{step}_indices"].long(), golden[f"step{step}_point_logits"]
        scale = float(values.abs().max())
        # A cell counts as chosen by us where it no longer holds the interpolated logit.
        chosen = found != upsampled.flatten(1)
        same = chosen.gather(1, cells)
        assert float(same.float().mean()) >= 0.999
        difference = (found.gather(1, cells) - values).abs()[same]
        assert float(difference.max()) / scale <= 1e-4
        recorded = upsampled.flatten(1).scatter(1, cells, values).view_as(upsampled)


@pytest.mark.parametrize("name", POINTREND)
@torch.inference_mode()
def test_renderer_end_to_end(name: str) -> None:
    golden = load(name)
    net = network(golden)
    running = renders(golden, net)
    render(running, net.mask_head.point)
    found = torch.stack([r.logits for r in running])
    assert float(((found - golden["mask_logits"]).abs() <= 1e-3).float().mean()) >= 0.999


@pytest.mark.parametrize("name", ALL)
def test_paste_and_rle(name: str) -> None:
    golden = load(name)
    height, width = golden.record["height"], golden.record["width"]
    masks = golden["mask_logits"].sigmoid() if name in POINTREND else golden["mask_prob"][:, 0]
    for mask, box, expected in zip(masks, golden.record["pred_boxes"], golden.record["rle"], strict=True):
        counts = rle.encode(paste(mask.numpy(), box, width, height), width, height)
        found = rle.decode(counts, width, height)
        wanted = rle.decode(rle.decompress(expected["counts"]), width, height)
        assert int((found != wanted).sum()) <= 1


@torch.inference_mode()
def test_conv_head() -> None:
    """The 4×conv baseline records no features: its own ones, the recorded boxes."""
    golden = load("tiny_conv_coffee")
    net = network(golden)
    rgb = torch.from_numpy(golden.arrays["resized_bgr"][:, :, ::-1].copy()).permute(2, 0, 1)
    images, _ = network_input([rgb], golden.checkpoint.config.preprocessing)
    boxes = golden["raw_boxes"]
    logits = net.mask_head(net.backbone(images), boxes, torch.zeros(len(boxes)))
    assert relative_difference(logits, golden["mask_logits_all"]) <= 1e-3
    own = own_class(logits, golden["raw_classes"]).sigmoid()
    torch.testing.assert_close(own, golden["mask_prob"][:, 0], atol=1e-3, rtol=0)
