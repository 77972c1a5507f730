"""Both ways that the row of a full-size network compares give the same masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.speed.full_size import boxes, reference_segment, segment
from model.config.categories import COCO
from model.masks.rle import decode, decompress
from model.networks.eager import predictor_of
from model.predict.instance import InstanceOptions
from tests.model.tiny import CLASSES, network

PICTURE = Path("examples/astronaut.jpg")


def test_the_published_way_gives_the_same_masks() -> None:
    net = network().eval().requires_grad_(False)
    assert net.point_head is not None
    net.point_head.predictor.weight.mul_(100)
    served = predictor_of(net, COCO[:CLASSES])
    data = PICTURE.read_bytes()
    options = InstanceOptions(224, 784, prompts=boxes(4, data, CLASSES))
    ours, theirs = segment(served, data, options), reference_segment(net, served, data, options)
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        height, width = other["size"]
        masks = [decode(decompress(text), width, height) for text in (one, other["counts"].decode())]
        # Of points that are equally uncertain, either may be evaluated.
        assert np.count_nonzero(masks[0] != masks[1]) <= 0.01 * masks[1].sum() + 4
    assert sum(len(each) for each in ours) > 200  # they are no plain rectangles
