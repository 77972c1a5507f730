"""The coarse pass on a tiny recorded network: batches, prompts, and nothing at all."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch
from torch import Tensor

from export.trials import picture
from model.config.instance import ConvHeadConfig
from model.networks.box_head import refine
from model.networks.build import build_network
from model.networks.coarse_pass import InstancePass
from model.networks.mask_heads import (
    ConvMaskHead,
    PointRendMaskHead,
    expected_precision,
    own_class,
)
from model.networks.mask_rcnn import MaskRCNN
from model.predict.coarse import InstanceCoarse
from model.predict.preprocess import network_input
from tests.parity.goldens import load_checkpoint, relative_difference

Prompts = tuple[Tensor, Tensor, Tensor]
NO_PROMPTS: Prompts = (
    torch.zeros(0, 4),
    torch.zeros(0, dtype=torch.int64),
    torch.zeros(0, dtype=torch.int64),
)
NAMES = ("tiny_r50", "tiny_conv")


@cache
def network(name: str = "tiny_r50", score_threshold: float = 0.05) -> MaskRCNN:
    opened = load_checkpoint(name)
    box = dataclasses.replace(opened.config.box, score_threshold=score_threshold)
    return build_network(dataclasses.replace(opened.config, box=box), opened.tensors)


@cache
def batch() -> tuple[Tensor, Tensor]:
    """Two pictures of different sizes and the same padded size, 128×160."""
    pixels = [torch.from_numpy(picture(h, w, h)).permute(2, 0, 1) for h, w in ((120, 160), (128, 150))]
    return network_input(pixels, load_checkpoint("tiny_r50").config.preprocessing)


def prompts(*rows: tuple[list[float], int, int]) -> Prompts:
    boxes, images, classes = zip(*rows, strict=True)
    return torch.tensor(boxes), torch.tensor(images), torch.tensor(classes)


MIXED = prompts(
    ([10.0, 10, 90, 110], 1, -1),
    ([30.0, 20, 60, 50], 0, 3),
    ([5.0, 5, 150, 118], 0, -1),
    ([5.0, 5, 140, 118], 1, 0),
)


@torch.inference_mode()
def run(net: MaskRCNN, given: Prompts, image: int | None = None) -> InstanceCoarse:
    images, sizes = batch()
    if image is not None:
        images, sizes = images[image : image + 1], sizes[image : image + 1]
    result: InstanceCoarse = InstancePass(net)(images, sizes, *given)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_images(name: str) -> None:
    net = network(name)
    together = run(net, MIXED)
    for image in range(2):
        mine = MIXED[1] == image
        alone = run(net, (MIXED[0][mine], MIXED[1][mine] * 0, MIXED[2][mine]), image)
        theirs = together.batch == image
        assert len(alone.boxes) == int(theirs.sum()) > 2
        assert torch.equal(alone.classes, together.classes[theirs]) and not alone.batch.any()
        for field in ("boxes", "scores", "coarse"):
            expected = getattr(together, field)[theirs]
            assert relative_difference(getattr(alone, field), expected) <= 1e-3
        if name == "tiny_r50":
            assert relative_difference(alone.fine[0], together.fine[image]) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_prompts_follow_the_detections_in_their_order(name: str) -> None:
    net = network(name)
    found, alone = run(net, MIXED), run(net, NO_PROMPTS)
    count = len(alone.boxes)
    assert count > 0 and len(found.boxes) == count + 4
    for field in ("boxes", "scores", "classes", "batch"):
        assert torch.equal(getattr(found, field)[:count], getattr(alone, field))
    assert torch.equal(found.boxes[count:], MIXED[0])
    assert found.batch[count:].tolist() == [1, 0, 0, 1]
    assert found.classes[count:][1].item() == 3 and found.classes[count:][3].item() == 0


@torch.inference_mode()
def test_refined_boxes_are_what_the_box_head_makes_of_the_detections() -> None:
    plain = network()
    box = dataclasses.replace(plain.config.box, refinements=2)
    net = build_network(dataclasses.replace(plain.config, box=box), load_checkpoint("tiny_r50").tensors)
    before, found = run(plain, MIXED), run(net, MIXED)
    assert torch.equal(found.boxes[-4:], MIXED[0])  # given boxes stay
    images, sizes = batch()
    boxes, chosen = before.boxes[:-4], (before.classes[:-4], before.batch[:-4])
    for _ in range(2):
        boxes = refine(net.box_head, net.backbone(images), boxes, *chosen, sizes)
    torch.testing.assert_close(found.boxes[:-4], boxes)
    assert not torch.allclose(boxes, before.boxes[:-4], atol=0.5)
    assert torch.equal(found.classes, before.classes)


@torch.inference_mode()
def test_the_box_head_chooses_the_class_that_is_left_open() -> None:
    net = network()
    found = run(net, MIXED)
    logits, _ = net.box_head(net.backbone(batch()[0]), MIXED[0], MIXED[1])
    chance = logits.softmax(-1)
    assert found.classes[-4:].tolist() == [int(chance[0, :5].argmax()), 3, int(chance[2, :5].argmax()), 0]
    expected = chance[torch.arange(4), found.classes[-4:]]
    torch.testing.assert_close(found.scores[-4:], expected, atol=1e-5, rtol=1e-5)
    assert float(chance[1, :5].max()) > float(chance[1, 3])  # so the given class was not the box head's


@pytest.mark.parametrize("name", NAMES)
def test_no_detections_and_no_prompts(name: str) -> None:
    found = run(network(name, 1.0), NO_PROMPTS)
    regions = (found.boxes, found.scores, found.classes, found.batch, found.coarse)
    assert [len(t) for t in regions] == [0] * 5
    assert (
        found.boxes.shape == (0, 4) and found.coarse.shape[1:] == run(network(name), MIXED).coarse.shape[1:]
    )
    assert found.classes.dtype == found.batch.dtype == torch.int64
    assert found.fine.shape == ((2, 32, 40, 32) if name == "tiny_r50" else (2, 0, 0, 0))


@pytest.mark.parametrize("name", NAMES)
def test_prompts_without_detections(name: str) -> None:
    found = run(network(name, 1.0), MIXED)
    assert torch.equal(found.boxes, MIXED[0]) and len(found.coarse) == 4


@torch.inference_mode()
def test_the_projections_are_the_point_heads() -> None:
    net = network()
    head = net.mask_head
    assert isinstance(head, PointRendMaskHead)
    found = run(net, MIXED)
    pyramid = net.backbone(batch()[0])
    masks = head(pyramid, found.boxes, found.batch)
    torch.testing.assert_close(found.coarse, head.point.project_coarse(masks, found.classes))
    torch.testing.assert_close(found.fine, head.point.project_fine(pyramid[0]))


@torch.inference_mode()
def test_the_conv_heads_masks_are_those_of_the_class() -> None:
    net = network("tiny_conv")
    assert isinstance(net.mask_head, ConvMaskHead)
    found = run(net, MIXED)
    masks = net.mask_head(net.backbone(batch()[0]), found.boxes, found.batch)
    assert found.coarse.shape == (len(found.boxes), 28 * 28, 1)
    torch.testing.assert_close(found.coarse[..., 0].view(-1, 28, 28), own_class(masks, found.classes))


def test_detections_lie_in_the_unpadded_image() -> None:
    found = run(network(), NO_PROMPTS)
    limits = batch()[1].flip(1).repeat(1, 2)[found.batch]
    assert bool((found.boxes >= 0).all() and (found.boxes <= limits).all())


@pytest.mark.parametrize("name", NAMES)
def test_every_class_can_be_given(name: str) -> None:
    found = run(network(name, 1.0), prompts(*(([10.0, 10, 90, 110], 0, c) for c in range(-1, 5))))
    assert found.classes[1:].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found.classes[0], found.scores[1:].argmax())
    # A row of a matrix product may differ in its last bit from the same row further down.
    torch.testing.assert_close(found.scores[0], found.scores[1:].max(), atol=1e-6, rtol=1e-5)


def test_the_baselines_deconvolution_starts_without_bias() -> None:
    """As every layer of the reference; torch would draw one."""
    assert not ConvMaskHead(8, 2, ConvHeadConfig(conv_dim=8)).deconv.bias.any()


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_box_and_mask(name: str) -> None:
    """With `mask_score`, each score is times what the mask that comes with it deserves; nothing else changes."""
    plain = network(name)
    both = build_network(dataclasses.replace(plain.config, mask_score=True), dict(plain.state_dict()))
    expected, found = run(plain, MIXED), run(both, MIXED)
    images, _ = batch()
    with torch.inference_mode():
        logits = both.mask_head(both.backbone(images), found.boxes, found.batch)
    factor = expected_precision(own_class(logits, found.classes))
    torch.testing.assert_close(found.scores, expected.scores * factor)
    assert (factor > 0).all() and (factor <= 1).all() and factor.std() > 1e-4
    for field in ("boxes", "classes", "batch", "coarse", "fine"):
        assert torch.equal(getattr(found, field), getattr(expected, field))


def test_expected_precision() -> None:
    """By hand: sure of one cell; of half of the mask; unsure of all of it; no mask to speak of, and none at all."""
    certain, half, never = 30.0, 0.0, -30.0
    masks = torch.tensor([[[certain, never]], [[certain, half]], [[half, half]], [[never, never]]])
    torch.testing.assert_close(expected_precision(masks), torch.tensor([1.0, 1.25 / 1.5, 0.5, 0.0]))
    assert expected_precision(torch.zeros(0, 7, 7)).shape == (0,)
