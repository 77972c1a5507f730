"""Masks in true boxes: their overlaps, by hand and of a network that meets its own masks again."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoints.checkpoint import Checkpoint, save
from model.config.categories import Category
from model.evaluation.true_boxes import Overlap, boundaries, mean_overlaps, overlap
from model.networks.mask_rcnn import MaskRCNN
from tests.model import label_files, tiny, tiny_semantic
from tests.model.command import Ended, run

BOTH = (Category(1, "dark"), Category(2, "bright"))


def square(x: int, side: int) -> NDArray[np.uint8]:
    mask = np.zeros((60, 80), np.uint8)  # the diagonal is 100, a band 2 pixels wide
    mask[20 : 20 + side, x : x + side] = 1
    return mask


def test_overlaps_of_squares() -> None:
    assert overlap(square(10, 20), square(10, 20)) == Overlap(400, 1.0, 1.0)
    moved = overlap(square(10, 20), square(15, 20))
    assert moved.area == 400 and moved.iou == pytest.approx(300 / 500)
    # Rings of 400 - 16² = 144 pixels. They share two rows of 15 at top and bottom, less the corners counted twice:
    # 4·15, and no column, as those lie 5 apart; the columns of one cross nothing but the other's rows.
    assert moved.boundary_iou == pytest.approx(60 / (2 * 144 - 60))
    assert overlap(square(10, 20), square(60, 10)) == Overlap(400, 0.0, 0.0)
    assert overlap(square(10, 0), square(10, 0)) == Overlap(0, 1.0, 1.0)


def test_a_boundary_runs_along_the_edge_of_the_image_too() -> None:
    mask = torch.zeros(1, 60, 80, dtype=torch.bool)
    mask[0, :10, :10] = True
    found = boundaries(mask, 2)[0]
    expected = mask[0].clone()
    expected[2:8, 2:8] = False
    assert torch.equal(found, expected)


def test_means_are_those_of_each_size() -> None:
    found = mean_overlaps([Overlap(100, 0.5, 0.1), Overlap(1024, 0.7, 0.3), Overlap(9215, 0.9, 0.5)])
    assert found["iou/small"] == 0.5 and found["boundary_iou/small"] == 0.1
    assert found["iou/medium"] == pytest.approx(0.8) and found["iou/all"] == pytest.approx(0.7)
    assert math.isnan(found["iou/large"])


def network(classes: int) -> MaskRCNN:
    """Return a network of random weights, whose masks would be empty without a bias."""
    net = tiny.network(dataclasses.replace(tiny.CONFIG, num_classes=classes))
    assert net.point_head is not None
    net.point_head.predictor.bias.data.fill_(0.5)
    return net


def evaluate(path: Path, data: Path, out: Path, *more: object) -> Ended:
    given = ("--checkpoint", path, "--data", data, "--images", data.parent, "--out", out)
    return run("evaluate", *given, *more)


@pytest.mark.parametrize("categories", [BOTH, (Category(1, "object"),)], ids=["both", "one class"])
def test_a_network_meets_its_own_masks_again(categories: tuple[Category, ...], tmp_path: Path) -> None:
    """A checkpoint of one class takes boxes of any class."""
    data = tiny.write_data(tmp_path / "data", 3, box_only=[3])
    net = network(len(categories))
    path, out = tmp_path / "model.safetensors", tmp_path / "out.json"
    save(path, Checkpoint(net.config, categories, net.state_dict()))
    assert evaluate(path, data, out, "--true-boxes").code == 0
    first = json.loads(out.read_text())
    assert len(first["results"]) == 4 and {r["score"] for r in first["results"]} == {1.0}
    assert 0 < first["metrics"]["iou/all"] < 1

    content = json.loads(data.read_text())
    masks = iter(first["results"])
    for entry in content["annotations"]:
        entry["segmentation"] = next(masks)["segmentation"] if entry["image_id"] < 3 else None
    data.write_text(json.dumps(content))
    ended = evaluate(path, data, out, "--true-boxes")
    metrics = json.loads(out.read_text())["metrics"]
    assert metrics["iou/all"] == metrics["boundary_iou/all"] == 1
    assert metrics["mask/AP"] == pytest.approx(1) and "box/AP" not in metrics
    assert "iou/all" in ended.out

    few = evaluate(path, data, out, "--true-boxes", "--limit", 1)
    assert few.code == 0 and len(json.loads(out.read_text())["results"]) == 2


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    data = tiny.write_data(tmp_path / "data", 2, box_only=[1, 2])
    net = tiny.network()
    path, out = tmp_path / "model.safetensors", tmp_path / "out.json"
    save(path, Checkpoint(net.config, BOTH, net.state_dict()))
    found = evaluate(path, data, out, "--true-boxes").error
    assert found == f"error: {data}: no annotation of a class that the checkpoint knows has a mask"
    assert "not both" in evaluate(path, data, out, "--true-boxes", "--one-class").error
    found = evaluate(path, data, out, "--one-class").error
    assert found == "error: --one-class is for a checkpoint of one class, this one has 2"


def test_one_class_finds_any_category(tmp_path: Path) -> None:
    """A network of one class, against its own detections, annotated with two categories."""
    data = tiny.write_data(tmp_path / "data", 2)
    net = network(1)
    path, out = tmp_path / "model.safetensors", tmp_path / "out.json"
    save(path, Checkpoint(net.config, (Category(1, "object"),), net.state_dict()))
    assert evaluate(path, data, out, "--one-class").code == 0
    results = json.loads(out.read_text())["results"]
    content = json.loads(data.read_text())
    content["annotations"] = [
        r | {"id": i, "iscrowd": 0, "category_id": 1 + i % 2} for i, r in enumerate(results, 1)
    ]
    data.write_text(json.dumps(content))
    assert evaluate(path, data, out, "--one-class").code == 0
    assert json.loads(out.read_text())["metrics"]["box/AP"] == pytest.approx(1)


def test_label_maps_have_no_boxes(tmp_path: Path) -> None:
    data, network = label_files.load(tmp_path), tiny_semantic.network()
    path = tmp_path / "model.safetensors"
    save(path, Checkpoint(network.config, data.labelling.classes, network.state_dict()))
    found = evaluate(path, tmp_path / "data.json", tmp_path / "out.json", "--true-boxes").error
    assert found.startswith("error: --true-boxes and --one-class are for models of instances")
