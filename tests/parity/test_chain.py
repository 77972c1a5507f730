"""The whole chain, picture in and masks out: the loose tolerances of docs/parity.md."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model import rle
from model.predict import Options, Predictor, crop
from model.rcnn import build
from tests.parity.goldens import ALL, POINTREND, Golden, load

EVERYTHING = Options(resolution=224, points=784, score=0.0, max_instances=1000)


def check_chain(golden: Golden, predictor: Predictor) -> None:
    """Detections and pasted masks against the record."""
    regions = predictor(golden.image, EVERYTHING)
    record = golden.record
    assert [r.category for r in regions] == record["classes"]
    np.testing.assert_allclose(np.stack([r.box for r in regions]), record["pred_boxes"], atol=0.1)
    np.testing.assert_allclose([r.score for r in regions], record["scores"], atol=1e-3)
    height, width = record["height"], record["width"]
    shares = []
    for region, expected, area in zip(regions, record["rle"], record["area"], strict=True):
        found = rle.decode(rle.encode(crop(region, width, height), width, height), width, height)
        wanted = rle.decode(rle.decompress(expected["counts"]), width, height)
        different = int((found != wanted).sum())
        assert different <= max(4, 0.01 * area)
        shares.append(different / max(area, 1))
    assert np.mean(shares) <= 0.003


@pytest.mark.parametrize("name", ALL)
def test_eager_chain(name: str) -> None:
    golden = load(name)
    check_chain(golden, Predictor.eager(golden.checkpoint))


@pytest.mark.parametrize("name", POINTREND)
@torch.inference_mode()
def test_proposals(name: str) -> None:
    golden = load(name)
    predictor = Predictor.eager(golden.checkpoint)
    net = build(golden.checkpoint.config, golden.checkpoint.tensors)
    prepared = predictor.prepare(golden.image)
    from model.preprocess import network_input

    images, sizes = network_input([prepared.pixels], golden.checkpoint.config.preprocessing)
    found = net.propose(net.backbone(images), sizes)
    expected = golden["proposals"]
    distance = (found.boxes[0][:, None] - expected[None]).abs().amax(-1)
    assert float((distance.amin(0) <= 0.1).float().mean()) >= 0.99
