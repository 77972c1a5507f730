"""The losses of mask heads and point head against plain loops over tiny made-up inputs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from model.config.instance import PointRendConfig
from model.data.instance_samples import Target
from model.networks.mask_heads import ConvMaskHead, PointRendMaskHead
from model.pointrend.points import sample
from model.training.losses.detection import (
    Rois,
)
from model.training.losses.masks import (
    coarse_masks,
    conv_mask_loss,
    fine_features,
    losses_at,
    mask_targets,
    mean_bce,
    mean_dice,
    point_targets,
    pointrend_losses,
)
from tests.model import tiny
from tests.model.training.losses.support import (
    ROIS,
    SAMPLING,
    TARGETS,
    generator,
    lively,
    rois,
)


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
    for samples in (2, 4, 8):
        regions = Rois(torch.tensor([[0.0, 0, 32.0, 64]]), one, one, one, target.boxes, one == 0)
        assert mask_targets(regions, [target], 4, samples)[0, 2].tolist() == [1, 1, 1, 0]
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


def test_coarse_masks_train_as_the_head_predicts_them() -> None:
    network = lively(
        dataclasses.replace(tiny.CONFIG, mask=PointRendConfig(conv_dim=8, fc_dim=32, point_dim=16, context=3))
    )
    head = network.mask_head
    assert isinstance(head, PointRendMaskHead)
    regions = rois(*ROIS)
    p2 = torch.randn(2, 16, 16, 24, generator=generator())
    found = coarse_masks(head, p2, regions)
    assert found.shape == (4, tiny.CLASSES + 3, 7, 7)
    torch.testing.assert_close(found, head([p2], regions.boxes, regions.batch))


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


def test_dice_is_added_to_the_cross_entropy_with_its_weight() -> None:
    network, regions = lively(), rois(*ROIS).take(torch.arange(3), torch.tensor(ROIS[0][:3]))
    head = network.mask_head
    assert isinstance(head, PointRendMaskHead)
    pyramid = network.backbone(tiny.images(2)[0])
    plain = pointrend_losses(head, pyramid, regions, TARGETS, SAMPLING, generator(5))
    weighted = dataclasses.replace(SAMPLING, dice_weight=0.25)
    found = pointrend_losses(head, pyramid, regions, TARGETS, weighted, generator(5))
    assert found.keys() == {"mask_coarse", "mask_point", "mask_coarse_dice", "mask_point_dice"}
    assert all(found[name].item() == value.item() for name, value in plain.items())
    coarse, goals = head(pyramid, regions.boxes, regions.batch), mask_targets(regions, TARGETS, 7)
    p = torch.stack([coarse[i, c] for i, c in enumerate(ROIS[2][:3])]).sigmoid()
    overlap = torch.stack(
        [(2 * (p[i] * goals[i]).sum() + 1) / (p[i].sum() + goals[i].sum() + 1) for i in range(3)]
    )
    assert found["mask_coarse_dice"].item() == pytest.approx(0.25 * (1 - overlap.mean().item()), rel=1e-4)


def test_dice_of_points_compares_the_own_class_with_the_mask() -> None:
    network, regions = lively(), rois(*ROIS).take(torch.arange(3), torch.tensor(ROIS[0][:3]))
    head = network.mask_head
    assert isinstance(head, PointRendMaskHead)
    p2 = network.backbone(tiny.images(2)[0])[0]
    coarse, points = head([p2], regions.boxes, regions.batch), torch.rand(3, 9, 2, generator=generator(4))
    weighted = dataclasses.replace(SAMPLING, dice_weight=0.5)
    found = losses_at(points, head, coarse, p2, regions, TARGETS, weighted)["mask_point_dice"]
    total = 0.0
    for i, c in enumerate(ROIS[2][:3]):
        x0, y0, x1, y1 = ROIS[0][i]
        places = (torch.tensor([x0, y0]) + points[i] * torch.tensor([x1 - x0, y1 - y0])) / torch.tensor(
            [96.0, 64]
        )
        fine = sample(p2[ROIS[1][i]][None], places[None]).transpose(1, 2)
        p = head.point(fine, sample(coarse[i : i + 1], points[i : i + 1]).transpose(1, 2))[0, :, c].sigmoid()
        bitmap = TARGETS[ROIS[1][i]].masks[ROIS[3][i]]  # type: ignore[index]
        goal = sample(bitmap[None, None].float(), places[None])[0, 0]
        total += 1 - (2 * (p * goal).sum().item() + 1) / (p.sum().item() + goal.sum().item() + 1)
    assert found.item() == pytest.approx(0.5 * total / 3, rel=1e-3)


def test_mean_dice_is_low_for_right_masks_and_near_one_for_wrong_ones() -> None:
    goal = torch.tensor([[1.0] * 10 + [0] * 90])
    right, wrong = 100 * (goal - 0.5), 100 * (0.5 - goal)
    assert mean_dice(right, goal).item() == pytest.approx(0, abs=1e-6)
    assert mean_dice(wrong, goal).item() == pytest.approx(1 - 1 / 101, abs=1e-6)
    assert mean_dice(torch.cat([right, wrong]), torch.cat([goal, goal])).item() == pytest.approx(
        50 / 101, abs=1e-6
    )


def test_mean_dice_of_nothing_is_zero_with_a_gradient() -> None:
    nothing = torch.zeros(0, 49, requires_grad=True)
    loss = mean_dice(nothing, torch.zeros(0, 49))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and nothing.grad is not None


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
