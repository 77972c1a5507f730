"""Calibration: what counts as right, the fit, and that the network then says what was fitted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints.checkpoint import Checkpoint, open_checkpoint, save
from model.config.categories import Category
from model.data.coco import load_coco
from model.evaluation.calibration import Platt, bake, detections, fit, match_detections, reliability
from model.evaluation.instance import predict
from model.networks.build import build_network
from model.predict.instance import InstanceOptions
from tests.model import tiny
from tests.model.command import run


def found(image: int, score: float, *box: float, category: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "score": score, "bbox": list(box)}


def truth(image: int, *box: float, category: int = 1, crowd: int = 0) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box), "iscrowd": crowd}


def test_a_true_box_is_found_once_and_by_the_best_score() -> None:
    data = [truth(1, 0, 0, 10, 10), truth(1, 50, 0, 10, 10), truth(2, 0, 0, 10, 10, category=2)]
    results = [
        found(1, 0.6, 0, 0, 10, 10),  # a duplicate of the next, worse
        found(1, 0.9, 1, 0, 10, 10),
        found(1, 0.8, 50, 0, 10, 4),  # IoU 0.4
        found(2, 0.7, 0, 0, 10, 10),  # of another class
        found(3, 0.5, 0, 0, 10, 10),  # nothing there
    ]
    scores, hits = match_detections(data, results)
    assert dict(zip(scores, hits, strict=True)) == {0.9: True, 0.8: False, 0.7: False, 0.6: False, 0.5: False}


def test_detections_on_crowds_count_neither_way() -> None:
    data = [truth(1, 0, 0, 100, 100, crowd=1), truth(1, 0, 0, 10, 10)]
    boxes = [(0.9, 0, 0, 10, 10), (0.8, 0, 0, 10, 10), (0.7, 95, 0, 10, 10), (0.6, 96, 0, 10, 10)]
    scores, hits = match_detections(data, [found(1, score, *box) for score, *box in boxes])
    assert (scores.tolist(), hits.tolist()) == ([0.9, 0.6], [True, False])  # 0.8 and 0.7 lie on the crowd


def test_nothing_found() -> None:
    scores, hits = match_detections([truth(1, 0, 0, 1, 1)], [])
    assert len(scores) == len(hits) == 0
    with pytest.raises(ValueError, match="0 of 0 detections are right"):
        fit(scores, hits)


def test_the_fit_finds_the_scaling_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.02, 0.98, 20_000)
    true = Platt(0.7, -1.2)
    hits = rng.random(20_000) < np.array([true(score) for score in scores])
    platt = fit(scores, hits)
    assert (platt.scale, platt.shift) == (pytest.approx(0.7, abs=0.05), pytest.approx(-1.2, abs=0.05))
    calibrated = np.array([platt(score) for score in scores])
    for low, high, count, share in reliability(calibrated, hits, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)):
        assert count > 300
        assert low - 0.03 < share < high + 0.03


def tiny_checkpoint(classes: int) -> Checkpoint:
    torch.manual_seed(0)
    config = dataclasses.replace(tiny.CONFIG, num_classes=classes)
    network = tiny.MaskRCNN(config)
    torch.nn.init.normal_(network.box_head.cls_score.weight, std=0.02)
    torch.nn.init.normal_(network.box_head.cls_score.bias, std=0.5)
    categories = tuple(Category(i + 1, f"class {i}") for i in range(classes))
    return Checkpoint(config, categories, dict(network.state_dict()))


def scores(checkpoint: Checkpoint) -> torch.Tensor:
    """[N, K] of regions here and there."""
    network = build_network(checkpoint.config, checkpoint.tensors)
    torch.manual_seed(1)
    corners = torch.rand(40, 2) * 40
    boxes = torch.cat([corners, corners + 4 + torch.rand(40, 2) * 20], 1)
    with torch.inference_mode():
        pyramid = network.backbone(torch.randn(1, 3, 64, 64))
        logits, _ = network.box_head(pyramid, boxes, torch.zeros(40, dtype=torch.int64))
    return logits.softmax(1)[:, :-1]


def test_the_network_says_what_was_fitted() -> None:
    checkpoint, platt = tiny_checkpoint(1), Platt(1.3, -0.8)
    before, after = scores(checkpoint), scores(bake(checkpoint, platt))
    expected = torch.tensor([[platt(float(score))] for score in before[:, 0]])
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-4)
    assert before.std() > 0.01
    threshold = bake(checkpoint, platt).config.box.score_threshold
    assert threshold == pytest.approx(platt(checkpoint.config.box.score_threshold), abs=1e-4)


def test_scores_that_run_the_wrong_way_are_refused() -> None:
    scores = np.linspace(0.1, 0.9, 50)
    with pytest.raises(ValueError, match="cannot be calibrated"):
        fit(scores, scores < 0.5)


def test_several_classes_keep_their_order() -> None:
    checkpoint = tiny_checkpoint(3)
    before, after = scores(checkpoint), scores(bake(checkpoint, Platt(0.8, -0.5)))
    assert torch.equal(before.argsort(1), after.argsort(1))
    assert (after < before).float().mean() > 0.5


def test_the_command(tmp_path: Path) -> None:
    """Every second image is what the network says, the others show nothing; masks play no part."""
    file, given, out = tiny.write_data(tmp_path, 8), tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    checkpoint = tiny_checkpoint(2)
    named = tuple(Category(i, name) for i, name in ((1, "dark"), (2, "bright")))
    with_masks = dataclasses.replace(checkpoint.config, mask_score=True)
    save(given, dataclasses.replace(checkpoint, categories=named, config=with_masks))
    dataset = load_coco(file, tmp_path)
    boxes = detections(open_checkpoint(given), dataset)
    alone = dataclasses.replace(open_checkpoint(given), config=checkpoint.config)
    known = dict(enumerate(named))
    everything = InstanceOptions(resolution=28)
    without, with_them = (
        predict(c, dataset, known, everything).entries for c in (alone, open_checkpoint(given))
    )
    assert sorted(r["score"] for r in boxes) == pytest.approx(sorted(r["score"] for r in without))
    assert sum(r["score"] for r in with_them) < 0.95 * sum(r["score"] for r in without)
    data = json.loads(file.read_text())
    data["annotations"] = [
        truth(r["image_id"], *r["bbox"], category=r["category_id"]) | {"id": i, "area": 1.0}
        for i, r in enumerate(boxes, 1)
        if r["image_id"] % 2 and min(r["bbox"][2:]) > 1
    ]
    file.write_text(json.dumps(data))
    files = {"checkpoint": given, "data": file, "images": tmp_path, "out": out}
    ended = run("calibrate", *(part for name, path in files.items() for part in (f"--{name}", path)))
    assert ended.code == 0
    scores, hits = match_detections(data["annotations"], boxes)
    platt, calibrated = fit(scores, hits), open_checkpoint(out)
    assert hits.any() and not hits.all()
    assert f"sigmoid({platt.scale:.3f} · logit + {platt.shift:.3f})" in ended.out
    assert "nan" not in ended.out and " of 0 " not in ended.out
    assert calibrated.notes["calibration"] == f"scale {platt.scale:.4f}, shift {platt.shift:.4f}"
    assert calibrated.config.mask_score
