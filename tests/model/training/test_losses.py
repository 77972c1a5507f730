"""The training losses against plain loops over tiny made-up inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from model.config.instance import MaskRCNNConfig
from model.data.instance_samples import Target
from model.networks import boxes as box
from model.networks.mask_heads import ConvMaskHead, PointRendMaskHead
from model.networks.mask_rcnn import MaskRCNN
from model.networks.rpn import NOTHING, Proposals
from model.pointrend.points import sample
from model.training.losses import (
    Losses,
    Rois,
    box_losses,
    conv_mask_loss,
    fine_features,
    losses,
    mask_targets,
    mean_bce,
    point_targets,
    pointrend_losses,
    rpn_losses,
    sample_rois,
)
from tests.model import tiny

SAMPLING = tiny.SAMPLING
TARGETS = [
    tiny.targets(64, 96, [[5, 5, 45, 40], [50, 10, 90, 60]]),
    tiny.targets(64, 96, [[20, 8, 80, 56]]),
]
NONE = tiny.targets(64, 96, [])
BOX_ONLY = [dataclasses.replace(t, masks=None) for t in TARGETS]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bce(logit: float, goal: float) -> float:
    return math.log1p(math.exp(-abs(logit))) + max(logit, 0) - logit * goal


def all_losses(network: MaskRCNN, targets: Sequence[Target], predicted_boxes: bool = True) -> Losses:
    sampling = dataclasses.replace(SAMPLING, predicted_boxes=predicted_boxes)
    return losses(network, *tiny.images(len(targets)), targets, sampling, generator())


def lively(config: MaskRCNNConfig = tiny.CONFIG) -> MaskRCNN:
    """In training, with predictors that predict something."""
    network = tiny.network(config).train()
    with torch.no_grad():
        network.box_head.bbox_pred.weight.normal_(std=0.05, generator=generator(1))
    return network


def rois(boxes: list[list[float]], batch: list[int], classes: list[int], target: list[int]) -> Rois:
    places = torch.tensor(boxes)
    goals = torch.stack([TARGETS[i].boxes[t] for i, t in zip(batch, target, strict=True)])
    foreground = torch.tensor(classes) < tiny.CLASSES
    return Rois(places, torch.tensor(batch), torch.tensor(classes), torch.tensor(target), goals, foreground)


ROIS = (
    [[4.0, 6, 44, 38], [50, 10, 90, 60], [18, 4, 85, 60], [0, 0, 9, 9]],
    [0, 0, 1, 1],
    [0, 1, 0, 2],
    [0, 1, 0, 0],
)


# RPN


def anchors() -> list[Tensor]:
    return [box.grid_anchors(box.cell_anchors(20, (1.0,)), 4, 6, 16), torch.tensor([[18.0, 6, 82, 58]])]


def test_rpn_losses_are_sums_over_the_number_asked_for() -> None:
    """Every anchor is sampled, so which ones are drawn does not matter."""
    sampling = dataclasses.replace(SAMPLING, anchors=256, anchor_positives=1.0)
    levels = anchors()
    logits = [torch.randn(2, len(a), generator=generator(1)) for a in levels]
    deltas = [torch.randn(2, len(a), 4, generator=generator(2)) for a in levels]
    found = rpn_losses(logits, deltas, levels, TARGETS, sampling, generator())
    places, scores, moves = torch.cat(levels), torch.cat(logits, 1), torch.cat(deltas, 1)
    objectness = regression = 0.0
    positives = 0
    for i, target in enumerate(TARGETS):
        iou = box_iou(target.boxes, places)
        for a in range(len(places)):
            best = int(iou[:, a].argmax())
            favourite = any(iou[g, a] == iou[g].max() for g in range(len(iou)))
            if iou[best, a] >= 0.7 or favourite:
                positives += 1
                objectness += bce(scores[i, a].item(), 1)
                goal = box.encode(target.boxes[best], places[a], (1, 1, 1, 1))
                regression += (moves[i, a] - goal).abs().sum().item()
            elif iou[best, a] < 0.3:
                objectness += bce(scores[i, a].item(), 0)
    assert positives >= 3
    assert found["rpn_objectness"].item() == pytest.approx(objectness / 512, rel=1e-4)
    assert found["rpn_box"].item() == pytest.approx(regression / 512, rel=1e-4)


def test_rpn_losses_without_objects_are_those_of_background() -> None:
    levels = anchors()
    logits = [torch.zeros(1, len(a), requires_grad=True) for a in levels]
    deltas = [torch.zeros(1, len(a), 4, requires_grad=True) for a in levels]
    found = rpn_losses(logits, deltas, levels, [NONE], SAMPLING, generator())
    count = min(SAMPLING.anchors, 25)
    assert found["rpn_objectness"].item() == pytest.approx(count * math.log(2) / SAMPLING.anchors)
    assert found["rpn_box"].item() == 0
    sum(found.values()).backward()  # type: ignore[union-attr]
    assert all(t.grad is not None for t in (*logits, *deltas))


@pytest.mark.parametrize("target", [NONE, TARGETS[0]], ids=["none", "some"])
def test_objectness_is_not_taught_inside_an_ignored_box(target: Target) -> None:
    """But where an instance is found there, that is."""
    levels = anchors()
    logits = [torch.zeros(1, len(a), requires_grad=True) for a in levels]
    deltas = [torch.zeros(1, len(a), 4) for a in levels]
    crowd = dataclasses.replace(target, ignored=torch.tensor([[0.0, 0, 48, 64], [60, 60, 60, 60]]))
    sampling = dataclasses.replace(SAMPLING, anchors=10_000)
    rpn_losses(logits, deltas, levels, [crowd], sampling, generator())["rpn_objectness"].backward()  # type: ignore[no-untyped-call]
    taught = torch.cat([t.grad[0] != 0 for t in logits if t.grad is not None])
    inside = box.covered(torch.cat(levels), torch.tensor([[0.0, 0, 48, 64]])) >= 0.5
    assert inside.any() and taught[~inside].any()
    positive = torch.cat([t.grad[0] < 0 for t in logits if t.grad is not None])
    assert torch.equal(taught & inside, positive & inside) and positive.any() == bool(len(target.boxes))


# Regions


def proposals(*boxes: list[float], images: int = 1) -> Proposals:
    return Proposals(torch.tensor([boxes] * images), torch.zeros(images, len(boxes)))


def test_targets_join_the_proposals_and_background_is_the_last_class() -> None:
    places = proposals([6.0, 6, 45, 40], [60, 40, 95, 63], [0, 50, 8, 60])
    found = sample_rois(places, TARGETS[:1], SAMPLING, tiny.CLASSES, generator())
    facts = {
        tuple(b): (c, t, m)
        for b, c, t, m in zip(
            *(x.tolist() for x in (found.boxes, found.classes, found.target, found.masked)), strict=True
        )
    }
    assert len(facts) == 5
    assert facts[6, 6, 45, 40] == (0, 0, True) and facts[5, 5, 45, 40] == (0, 0, True)
    assert facts[50, 10, 90, 60] == (1, 1, True)
    assert facts[60, 40, 95, 63][0] == facts[0, 50, 8, 60][0] == tiny.CLASSES
    assert not facts[0, 50, 8, 60][2]
    torch.testing.assert_close(found.goals, TARGETS[0].boxes[found.target])


def test_regions_in_an_ignored_box_are_neither_instance_nor_background() -> None:
    places = proposals([6.0, 6, 45, 40], [60, 40, 95, 63], [0, 50, 8, 60])
    crowd = dataclasses.replace(TARGETS[0], ignored=torch.tensor([[0.0, 0, 9, 64], [5, 5, 45, 40]]))
    found = sample_rois(places, [crowd], SAMPLING, tiny.CLASSES, generator())
    assert sorted(found.boxes[found.classes == tiny.CLASSES].tolist()) == [[60, 40, 95, 63]]
    assert int((found.classes < tiny.CLASSES).sum()) == 3


def test_an_image_of_nothing_but_ignored_boxes_has_losses() -> None:
    everywhere = dataclasses.replace(NONE, ignored=torch.tensor([[-999.0, -999, 999, 999]]))
    found = all_losses(lively(), [everywhere, everywhere])
    assert all(value.item() == 0 for value in found.values())
    sum(found.values()).backward()  # type: ignore[union-attr]


def test_empty_places_are_not_sampled_and_numbers_are_kept() -> None:
    places = proposals(*([[5.0 + i / 10, 5, 45, 40] for i in range(20)] + [[0.0, 50, 8, 60]] * 20))
    places.logits[0, 39] = NOTHING
    sampling = dataclasses.replace(SAMPLING, rois=12, roi_positives=0.25)
    found = sample_rois(places, TARGETS[:1], sampling, tiny.CLASSES, generator())
    assert len(found.boxes) == 12 and int(found.masked.sum()) == 3
    sampling = dataclasses.replace(SAMPLING, rois=1000, roi_positives=1.0)
    assert len(sample_rois(places, TARGETS[:1], sampling, tiny.CLASSES, generator()).boxes) == 41


def test_regions_of_images_without_objects_or_masks_train_no_masks() -> None:
    places = proposals([6.0, 6, 45, 40], [0, 50, 8, 60], images=2)
    found = sample_rois(places, [NONE, BOX_ONLY[0]], SAMPLING, tiny.CLASSES, generator())
    assert not found.masked.any()
    assert bool((found.classes[found.batch == 0] == tiny.CLASSES).all())
    assert int((found.classes[found.batch == 1] < tiny.CLASSES).sum()) == 3


# Box head


def test_box_losses_are_means_over_all_regions() -> None:
    network, regions = lively(), rois(*ROIS)
    pyramid = network.backbone(tiny.images(2)[0])
    logits, deltas = network.box_head(pyramid, regions.boxes, regions.batch)
    found, kept = box_losses(network.box_head, pyramid, regions, SAMPLING)
    entropy = [-logits[i].softmax(0)[c].log().item() for i, c in enumerate(ROIS[2])]
    assert found["box_class"].item() == pytest.approx(sum(entropy) / 4, rel=1e-4)
    distance = sum(
        (deltas[i, c] - box.encode(regions.goals[i], regions.boxes[i], box.BOX_WEIGHTS)).abs().sum().item()
        for i, c in enumerate(ROIS[2][:3])
    )
    assert found["box_regression"].item() == pytest.approx(distance / 4, rel=1e-4)
    # Masks train in the boxes that are predicted for the target's class, unclipped.
    predicted = [
        box.decode(deltas[i, c], regions.boxes[i], box.BOX_WEIGHTS) for i, c in enumerate(ROIS[2][:3])
    ]
    torch.testing.assert_close(kept.boxes, torch.stack(predicted))
    assert not kept.boxes.requires_grad and not torch.equal(kept.boxes, regions.boxes[:3])
    assert kept.classes.tolist() == [0, 1, 0] and kept.batch.tolist() == [0, 0, 1]


@pytest.mark.parametrize("delta", [1e9, float("inf"), float("nan")])
def test_masks_never_train_in_the_boxes_of_a_diverged_run(delta: float) -> None:
    """Finite ones, too, of 62.5 times the proposal's 160 pixels: RoIAlign's cost grows with the area."""
    network, regions = lively(), rois([[0.0, 0, 160, 160], [50, 10, 90, 60]], [0, 0], [0, 1], [0, 1])
    with torch.no_grad():
        network.box_head.bbox_pred.weight.zero_()
        network.box_head.bbox_pred.bias.view(tiny.CLASSES, 4)[0, 2:] = delta
    _, kept = box_losses(network.box_head, network.backbone(tiny.images(2)[0]), regions, SAMPLING)
    torch.testing.assert_close(kept.boxes, regions.boxes)


def test_proposals_themselves_are_the_masks_boxes_when_asked() -> None:
    network, regions = lively(), rois(*ROIS)
    sampling = dataclasses.replace(SAMPLING, predicted_boxes=False)
    _, kept = box_losses(network.box_head, network.backbone(tiny.images(2)[0]), regions, sampling)
    assert torch.equal(kept.boxes, regions.boxes[:3])


def test_box_losses_do_not_depend_on_where_masks_train() -> None:
    """The reference once moved the proposals before the box loss; box AP fell from 55 to 44."""
    network = lively()
    one, other = (all_losses(network, TARGETS, predicted) for predicted in (True, False))
    for name in ("rpn_objectness", "rpn_box", "box_class", "box_regression"):
        assert one[name].item() == other[name].item() > 0
    assert one["mask_coarse"].item() != other["mask_coarse"].item()


# Masks


def test_coarse_targets_are_the_bitmap_at_least_half() -> None:
    mask = torch.zeros(1, 64, 96, dtype=torch.uint8)
    mask[0, :, :20] = 1
    target = Target(torch.tensor([[0.0, 0, 20, 64]]), torch.tensor([0]), mask)
    one = torch.tensor([0])
    # Four columns of a quarter of the box each; foreground ends at 20.
    for right, columns in (
        (40.0, [1, 1, 0, 0]),
        (36.0, [1, 1, 0, 0]),
        (48.0, [1, 1, 0, 0]),
        (32.0, [1, 1, 1, 0]),
    ):
        regions = Rois(torch.tensor([[0.0, 0, right, 64]]), one, one, one, target.boxes, one == 0)
        assert mask_targets(regions, [target], 4)[0, 2].tolist() == columns
    exact = Rois(torch.tensor([[0.0, 0, 160 / 6, 64]]), one, one, one, target.boxes, one == 0)
    assert mask_targets(exact, [target], 2)[0, 0].tolist() == [1, 1]  # half of the second column


def test_point_targets_are_soft() -> None:
    mask = torch.zeros(2, 64, 96, dtype=torch.uint8)
    mask[1, :, :20] = 1
    target = Target(torch.zeros(2, 4), torch.zeros(2).long(), mask)
    one = torch.tensor([0])
    regions = Rois(torch.zeros(1, 4), one, one, one + 1, torch.zeros(1, 4), one == 0)
    positions = torch.tensor([[[10.0, 9], [19.75, 9], [20.0, 9], [20.5, 9], [0.0, 9], [-3.0, 9]]])
    assert point_targets(regions, [target], positions)[0].tolist() == [1, 0.75, 0.5, 0, 0.5, 0]


def test_targets_are_those_of_the_regions_image() -> None:
    regions = rois([[5.0, 5, 45, 40], [20, 8, 80, 56], [50, 10, 90, 60]], [0, 1, 0], [0, 0, 1], [0, 0, 1])
    found = mask_targets(regions, TARGETS, 14)
    for row in found:  # an ellipse that fills the box
        assert 0.7 < row.mean() < 0.85 and row[0, 0] == row[-1, -1] == 0 and row[7, 7] == 1


def test_fine_features_are_reads_of_each_regions_image() -> None:
    features = torch.randn(2, 3, 16, 24, generator=generator())
    positions = torch.rand(4, 5, 2, generator=generator()) * torch.tensor([110.0, 80]) - 8
    batch = torch.tensor([1, 0, 0, 1])
    expected = sample(features[batch], positions / torch.tensor([96.0, 64])).transpose(1, 2)
    torch.testing.assert_close(fine_features(features, positions, batch), expected)
    assert fine_features(features, positions[:0], batch[:0]).shape == (0, 5, 3)


def test_pointrend_losses_are_means_of_the_own_class() -> None:
    """With no importance, the points are the drawn cover points themselves."""
    network, regions = lively(), rois(*ROIS).take(torch.arange(3), torch.tensor(ROIS[0][:3]))
    head = network.mask_head
    assert isinstance(head, PointRendMaskHead)
    with torch.no_grad():
        for layer in (head.coarse.prediction, head.point.predictor):
            layer.weight.normal_(std=0.3, generator=generator(2))
    sampling = dataclasses.replace(SAMPLING, importance=0.0, oversample=1.0)
    pyramid = network.backbone(tiny.images(2)[0])
    found = pointrend_losses(head, pyramid, regions, TARGETS, sampling, generator(5))
    coarse = head(pyramid, regions.boxes, regions.batch)
    goals = mask_targets(regions, TARGETS, 7)
    own = torch.stack([coarse[i, c] for i, c in enumerate(ROIS[2][:3])])
    assert found["mask_coarse"].item() == pytest.approx(
        F.binary_cross_entropy(own.sigmoid(), goals).item(), rel=1e-4
    )
    draws = generator(5)
    torch.rand(3, 20, 2, generator=draws)  # the candidates, of which none is taken
    points = torch.rand(3, 20, 2, generator=draws)
    total = 0.0
    for i, c in enumerate(ROIS[2][:3]):
        x0, y0, x1, y1 = ROIS[0][i]
        places = torch.tensor([x0, y0]) + points[i] * torch.tensor([x1 - x0, y1 - y0])
        image = ROIS[1][i]
        fine = sample(pyramid[0][image : image + 1], places[None] / torch.tensor([96.0, 64]))
        logits = head.point(
            fine.transpose(1, 2), sample(coarse[i : i + 1], points[i : i + 1]).transpose(1, 2)
        )
        bitmap = TARGETS[image].masks[ROIS[3][i]]  # type: ignore[index]
        labels = sample(bitmap[None, None].float(), places[None] / torch.tensor([96.0, 64]))[0, 0]
        total += F.binary_cross_entropy(logits[0, :, c].sigmoid(), labels).item()
    assert found["mask_point"].item() == pytest.approx(total / 3, rel=1e-3)


def test_the_conv_loss_is_a_mean_of_the_own_class() -> None:
    network, regions = lively(tiny.CONV), rois(*ROIS).take(torch.arange(3), torch.tensor(ROIS[0][:3]))
    head = network.mask_head
    assert isinstance(head, ConvMaskHead)
    pyramid = network.backbone(tiny.images(2)[0])
    found = conv_mask_loss(head, pyramid, regions, TARGETS)
    logits = head(pyramid, regions.boxes, regions.batch)
    own = torch.stack([logits[i, c] for i, c in enumerate(ROIS[2][:3])])
    expected = F.binary_cross_entropy(own.sigmoid(), mask_targets(regions, TARGETS, 28))
    assert found["mask_conv"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_mean_bce_of_nothing_is_zero_with_a_gradient() -> None:
    nothing = torch.zeros(0, 7, 7, requires_grad=True)
    loss = mean_bce(nothing, torch.zeros(0, 7, 7))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and nothing.grad is not None


# All together


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.CONV], ids=["pointrend", "conv"])
@pytest.mark.parametrize(
    ("targets", "masks"),
    [(TARGETS, True), ([NONE, TARGETS[0]], True), ([NONE, NONE], False), (BOX_ONLY, False)],
    ids=["objects", "one image empty", "all empty", "boxes only"],
)
def test_losses_reach_every_parameter(config: MaskRCNNConfig, targets: list[Target], masks: bool) -> None:
    network = lively(config)
    found = all_losses(network, targets)
    names = {"mask_coarse", "mask_point"} if config is tiny.CONFIG else {"mask_conv"}
    assert set(found) == {"rpn_objectness", "rpn_box", "box_class", "box_regression", *names}
    assert all(value.isfinite() and value.ndim == 0 for value in found.values())
    assert all((found[name].item() > 0) is masks for name in names)
    sum(found.values()).backward()  # type: ignore[union-attr]
    missing = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    mask_gradient = sum(
        p.grad.abs().sum().item() for p in network.mask_head.parameters() if p.grad is not None
    )
    assert (mask_gradient > 0) is masks


def test_masks_of_other_images_do_not_leak_into_box_only_ones() -> None:
    """A masked and a box-only image: the mask losses are those of the masked one's regions."""
    places = proposals([6.0, 6, 45, 40], [20, 8, 80, 56], images=2)
    found = sample_rois(places, [TARGETS[0], BOX_ONLY[1]], SAMPLING, tiny.CLASSES, generator())
    assert found.masked.any() and bool((found.batch[found.masked] == 0).all())


def test_only_instances_with_a_known_mask_train_masks() -> None:
    some = dataclasses.replace(
        TARGETS[0], masked=torch.tensor([False] + [True] * (len(TARGETS[0].boxes) - 1))
    )
    found = sample_rois(proposals([6.0, 6, 45, 40]), [some], SAMPLING, tiny.CLASSES, generator())
    foreground = found.classes < tiny.CLASSES
    assert torch.equal(found.masked, foreground & (found.target > 0)) and foreground[found.target == 0].any()


def test_losses_come_from_the_generator_alone() -> None:
    network = lively()
    one, same = (all_losses(network, TARGETS) for _ in range(2))
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in same.items()}


def test_bf16_is_close_and_heads_stay_float32() -> None:
    network = lively()
    images, sizes = tiny.images(2)
    found = losses(network, images, sizes, TARGETS, SAMPLING, generator(), bf16=True)
    expected = all_losses(network, TARGETS)
    assert all(value.dtype == torch.float32 for value in found.values())
    assert found["rpn_objectness"].item() == pytest.approx(expected["rpn_objectness"].item(), rel=0.05)
