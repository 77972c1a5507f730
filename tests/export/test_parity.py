"""The proof that a graph is its network: a difference is found in the stage where it is, near-ties change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from export.measurements import TOLERANCE, Measurements
from export.parity import check, measure, measure_boxes
from export.trials import blank_image, inputs, no_regions, picture, trials
from model.networks import boxes as box
from model.networks.build import CoarsePass, box_pass, build_network, coarse_pass
from model.networks.eager import eager_run
from model.predict.predictor import Run
from tests.export.presets import eager_steps
from tests.parity.goldens import load_any


@cache
def network(name: str = "tiny_r50") -> CoarsePass:
    checkpoint = load_any(name)
    return coarse_pass(build_network(checkpoint.config, checkpoint.tensors))


def perturbed(part: str, by: float, name: str = "tiny_r50") -> CoarsePass:
    """Return the same network with the values of one part's weights moved."""
    checkpoint, generator = load_any(name), torch.Generator().manual_seed(0)
    names = [n for n, t in checkpoint.tensors.items() if n.startswith(part) and t.is_floating_point()]
    assert names
    moved = {
        n: t * (1 + by * torch.randn(t.shape, generator=generator)) if n in names else t
        for n, t in checkpoint.tensors.items()
    }
    return coarse_pass(build_network(checkpoint.config, moved))


def batches() -> list[dict[str, Tensor]]:
    pixels = network().network.config.preprocessing
    return [inputs([picture(96, 128, seed) for seed in range(2)], pixels)]


def failing(staged: Run, name: str = "tiny_r50") -> set[str]:
    """Return the stages that differ by more than their tolerance, and the selections that are far off."""
    report = measure(network(name), staged, batches()).report()
    stages = {s for s, row in report["stages"].items() if not row["difference"] <= row["tolerance"]}
    return stages | {f"{s} chosen" for s, row in report["selection"].items() if row["shared"] < row["least"]}


@pytest.mark.parametrize(
    ("part", "stages"),
    [
        ("", set()),
        ("box_head", {"kept boxes' scores"}),
        ("mask_head.coarse", {"kept boxes' masks"}),
        ("backbone", set()),  # whose features are given
    ],
)
@torch.inference_mode()
def test_a_wrong_box_pass_is_noticed(part: str, stages: set[str]) -> None:
    right, other = network(), perturbed(part, 0.01) if part else network()
    boxes, found = box_pass(other.network), Measurements()
    assert boxes is not None
    measure_boxes(right.network, eager_steps(right), eager_run(boxes), batches(), found)
    report = found.report()["stages"]
    assert set(report) == {f"kept boxes' {name}" for name in ("classes", "choice", "scores", "masks")}
    wrong = {s for s, row in report.items() if not row["difference"] <= row["tolerance"]}
    assert stages <= wrong and bool(stages) == bool(wrong)


@pytest.mark.parametrize("name", ["tiny_r50", "tiny_conv", "tiny_semantic"])
@torch.inference_mode()
def test_a_network_is_itself(name: str) -> None:
    coarse = network(name)
    found = check(coarse, eager_steps(coarse), eager_run(coarse), coarse.network.point_head, batches())
    assert found["passed"] and found["failures"] == []
    assert all(row["difference"] == 0 for row in found["stages"].values())
    assert all(row["shared"] > 0.99 and row["chosen"] > 20 for row in found["selection"].values())


@pytest.mark.parametrize(
    ("part", "by", "stages"),
    [
        ("backbone.trunk.res3.0.conv1.conv", 0.3, {"pyramid"}),
        ("rpn.objectness", 0.05, {"objectness"}),
        ("rpn.deltas", 0.05, {"anchor deltas"}),
        ("box_head.cls_score", 0.05, {"class logits", "given boxes' logits"}),
        ("box_head.bbox_pred", 0.3, {"box deltas"}),
        ("mask_head.coarse.fc.1", 0.3, {"coarse masks"}),
        ("mask_head.point.fc.0", 0.01, {"coarse masks", "fine map"}),
    ],
)
def test_a_changed_weight_is_found_where_it_acts_and_nowhere_else(
    part: str, by: float, stages: set[str]
) -> None:
    assert failing(eager_steps(perturbed(part, by))) == stages


@pytest.mark.parametrize(
    ("part", "stages"),
    [
        ("backbone.trunk.res3.0.conv1.conv", {"features"}),
        ("head.predictor", {"coarse logits"}),
        ("point.fc.0", {"fine map"}),
    ],
)
def test_so_it_is_in_a_semantic_network(part: str, stages: set[str]) -> None:
    assert failing(eager_steps(perturbed(part, 0.01, "tiny_semantic")), "tiny_semantic") == stages


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("proposals.boxes", "proposals"),
        ("boxes", "detected boxes"),
        ("scores", "detected scores"),
        ("anchors.2", "anchors"),
        ("coarse", "coarse masks"),
    ],
)
def test_a_changed_output_is_found(name: str, stage: str) -> None:
    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = eager_steps(network())(given)
        return {**found, name: found[name] * (1 + 20 * TOLERANCE)}

    assert stage in failing(run)


def test_given_boxes_must_pass_through() -> None:
    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = eager_steps(network())(given)
        classes = found["classes"].clone()
        classes[-2] = (classes[-2] + 1) % 5
        return {**found, "classes": classes}

    assert "given boxes" in failing(run)


def test_a_near_tie_that_the_graph_decides_otherwise_is_no_difference() -> None:
    """One detection is replaced by a box beside it, which the network decoded as well, and another one is left out."""

    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = other_choice(eager_steps(network())(given), given)
        kept = torch.ones(len(found["boxes"]), dtype=torch.bool)
        kept[1] = False
        return {
            **found,
            **{name: found[name][kept] for name in ("boxes", "scores", "classes", "batch", "coarse")},
        }

    report = measure(network(), run, batches()).report()
    assert report["passed"], report["failures"]
    assert 0.9 < report["selection"]["detections"]["shared"] < 1


def other_choice(found: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace one detection by the candidate beside it, with the score and the mask that the network gives it."""
    net: Any = network().network
    moved = box.decode(found["box_deltas"], found["proposals.boxes"][:, :, None], box.BOX_WEIGHTS)
    candidates, chance = box.clip(moved, given["size"]), found["class_logits"].softmax(-1)
    neighbours = []
    for i in range(len(found["boxes"]) - len(given["prompts"])):
        image, category = int(found["batch"][i]), int(found["classes"][i])
        overlap = box_iou(found["boxes"][i : i + 1], candidates[image, :, category])[0]
        place = int(torch.where(overlap > 0.999, 0, overlap).argmax())
        neighbours.append((float(overlap[place]), i, (image, place, category)))
    overlap_of_both, i, which = max(neighbours)
    assert 0.5 < overlap_of_both < 0.99
    changed = {name: found[name].clone() for name in ("boxes", "scores", "coarse")}
    changed["boxes"][i], changed["scores"][i] = candidates[which], chance[which]
    pyramid = [found[f"pyramid.{level}"] for level in range(5)]
    masks = net.mask_head(pyramid, changed["boxes"][i : i + 1], found["batch"][i : i + 1])
    changed["coarse"][i] = net.point_head.project_coarse(masks, found["classes"][i : i + 1])[0]
    return {**found, **changed}


def test_other_outputs_heads_and_rows_are_problems() -> None:
    right, other = network(), perturbed("mask_head.point.fc.1", 1.0)
    staged, head = eager_steps(right), right.network.point_head

    def moved(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = eager_run(right)(given)
        return {**found, "scores": found["scores"].nextafter(torch.ones(()))}

    def rows(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = eager_run(right)(given)
        return {**found} if given["image"].any() else {**found, "boxes": torch.zeros(1, 4)}

    with torch.inference_mode():
        for shipped, part, problem in (
            (moved, head, "the shipped graph does not return what the compared one returns"),
            (eager_run(right), other.network.point_head, "the point head's file is not the network's"),
            (rows, head, "no regions: the graph's outputs have"),
        ):
            report = check(right, staged, shipped, part, batches())
            assert not report["passed"] and len(report["failures"]) == 1
            assert report["failures"][0].startswith(problem)


def test_trials_cover_batches_and_shapes() -> None:
    pixels = network().network.config.preprocessing
    for full_size in (False, True):
        found = trials(pixels, full_size)
        sizes = [(len(t["image"]), *map(int, t["size"][0])) for t in found]
        shapes = {(count, height > width, height == width) for count, height, width in sizes}
        assert shapes == {(3, False, False), (1, False, False), (1, True, False), (1, False, True)}
        assert (max(width for _, _, width in sizes) > pixels.long_edge / 1.9) == full_size
        assert all(len(t["prompts"]) == 2 * len(t["image"]) for t in found)
        assert all(bool((t["prompts"][:, 2:] > t["prompts"][:, :2]).all()) for t in found)
    nothing = no_regions(pixels)
    assert not nothing["image"].any() and len(nothing["prompts"]) == len(nothing["prompt_class"]) == 0


def test_trial_pictures_are_the_same_every_time() -> None:
    assert (picture(40, 60, 3) == picture(40, 60, 3)).all() and (
        picture(40, 60, 3) != picture(40, 60, 4)
    ).any()
    assert blank_image(20, 30).std() < 6
