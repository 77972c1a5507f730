"""The losses of proposals and boxes against plain loops over tiny made-up inputs."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from model.data.instance_samples import Target
from model.networks import boxes as box
from model.networks.rpn import NOTHING, Proposals
from model.training.losses.detection import (
    box_losses,
    mask_rois,
    moved_rois,
    rpn_losses,
    sample_rois,
)
from tests.model import tiny
from tests.model.training.losses.support import (
    BOX_ONLY,
    NONE,
    ROIS,
    SAMPLING,
    TARGETS,
    all_losses,
    bce,
    generator,
    lively,
    rois,
)


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


def test_box_losses_are_means_over_all_regions() -> None:
    network, regions = lively(), rois(*ROIS)
    pyramid = network.backbone(tiny.images(2)[0])
    logits, deltas = network.box_head(pyramid, regions.boxes, regions.batch)
    found, moved = box_losses(network.box_head, pyramid, regions)
    entropy = [-logits[i].softmax(0)[c].log().item() for i, c in enumerate(ROIS[2])]
    assert found["box_class"].item() == pytest.approx(sum(entropy) / 4, rel=1e-4)
    distance = sum(
        (deltas[i, c] - box.encode(regions.goals[i], regions.boxes[i], box.BOX_WEIGHTS)).abs().sum().item()
        for i, c in enumerate(ROIS[2][:3])
    )
    assert found["box_regression"].item() == pytest.approx(distance / 4, rel=1e-4)
    # Regions are moved as their class is, those of the background as the most probable class, unclipped.
    picks = [*ROIS[2][:3], int(logits[3, :-1].argmax())]
    predicted = [box.decode(deltas[i, c], regions.boxes[i], box.BOX_WEIGHTS) for i, c in enumerate(picks)]
    torch.testing.assert_close(moved, torch.stack(predicted))
    assert not moved.requires_grad and not torch.equal(moved, regions.boxes)
    kept = mask_rois(regions, moved, SAMPLING)
    assert torch.equal(kept.boxes, moved[:3])
    assert kept.classes.tolist() == [0, 1, 0] and kept.batch.tolist() == [0, 0, 1]


@pytest.mark.parametrize("delta", [1e9, float("inf"), float("nan")])
def test_masks_never_train_in_the_boxes_of_a_diverged_run(delta: float) -> None:
    """Finite ones, too, of 62.5 times the proposal's 160 pixels: RoIAlign's cost grows with the area."""
    network, regions = lively(), rois([[0.0, 0, 160, 160], [50, 10, 90, 60]], [0, 0], [0, 1], [0, 1])
    with torch.no_grad():
        network.box_head.bbox_pred.weight.zero_()
        network.box_head.bbox_pred.bias.view(tiny.CLASSES, 4)[0, 2:] = delta
    _, moved = box_losses(network.box_head, network.backbone(tiny.images(2)[0]), regions)
    torch.testing.assert_close(moved, regions.boxes)


def test_proposals_themselves_are_the_masks_boxes_when_asked() -> None:
    regions = rois(*ROIS)
    sampling = dataclasses.replace(SAMPLING, predicted_boxes=False)
    kept = mask_rois(regions, regions.boxes + 1, sampling)
    assert torch.equal(kept.boxes, regions.boxes[:3])


def test_moved_regions_are_matched_anew() -> None:
    """The first leaves its object, the second reaches another one, the third a crowd, the last none."""
    crowd = dataclasses.replace(TARGETS[0], ignored=torch.tensor([[0.0, 50, 4, 64]]))
    places = [[5.0, 5, 45, 40], [9, 9, 30, 30], [0, 0, 9, 9], [18, 4, 85, 60]]
    regions = rois(places, [0, 0, 0, 1], [0, 0, 2, 0], [0, 0, 0, 0])
    moved = torch.tensor([[60.0, 0, 99, 9], [50, 10, 90, 60], [0, 50, 4, 60], [18, 4, 85, 60]])
    found = moved_rois(regions, moved, [crowd, NONE], SAMPLING, tiny.CLASSES)
    assert torch.equal(found.boxes, moved[[0, 1, 3]]) and found.batch.tolist() == [0, 0, 1]
    assert found.classes.tolist() == [tiny.CLASSES, 1, tiny.CLASSES]
    assert found.goals[1].tolist() == [50, 10, 90, 60] and found.masked.tolist() == [False, True, False]


def test_box_losses_do_not_depend_on_where_masks_train() -> None:
    """The reference once moved the proposals before the box loss; box AP fell from 55 to 44."""
    network = lively()
    one, other = (all_losses(network, TARGETS, predicted) for predicted in (True, False))
    for name in ("rpn_objectness", "rpn_box", "box_class", "box_regression"):
        assert one[name].item() == other[name].item() > 0
    assert one["mask_coarse"].item() != other["mask_coarse"].item()


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
