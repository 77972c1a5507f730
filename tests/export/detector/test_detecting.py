"""A bundle with a detector: what it holds, what it predicts, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.bundle import BOXES, GRAPH, POINT_HEAD, open_bundle, sha256
from export.detector.parity import compare_detectors, plain_detector
from export.detector.run import DETECTOR
from export.errors import BundleError
from export.golden import DetectorGolden, golden
from export.manifest import MANIFEST, read_manifest
from export.measurements import Measurements
from export.write import DetectorFile, write_bundle
from model.checkpoints.eager import eager_predictor
from model.config.categories import COCO, Category, numbered
from model.errors import UserError
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.predictor import Prompt, by_channel
from tests.export.detector.bright import SCORES, SIDE, detector, settings, spot, write_graph
from tests.export.detector.bundles import OBJECT, mask_head
from tests.parity.goldens import load_any

BOX = (30, 20, 90, 60)
IMAGE = spot(96, 128, BOX)
CAT, DOG, ANY = 0, 1, 2  # the categories


@pytest.fixture(scope="module")
def predictor(detecting: Path) -> InstancePredictor:
    found = open_bundle(detecting).predictor
    assert isinstance(found, InstancePredictor)
    return found


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> InstancePredictor:
    """The same in PyTorch, but for the detector, which is the same graph."""
    found: Any = eager_predictor(mask_head())
    return dataclasses.replace(found, detector=detector(tmp_path_factory.mktemp("eager")), mask_category=ANY)


def test_the_bundle_holds_both_graphs_and_says_whose_they_are(detecting: Path) -> None:
    manifest = read_manifest(detecting)
    assert set(manifest.files) == {GRAPH, BOXES, POINT_HEAD, DETECTOR}
    assert manifest.files[DETECTOR] == sha256(detecting / DETECTOR) == manifest.source["detector sha256"]
    assert manifest.source["detector"] == "bright.onnx" and manifest.source["licence"] == "Apache-2.0"
    assert manifest.detector is not None and manifest.detector.settings.licence == "MIT"
    by_name = {category.name: category for category in COCO}
    assert manifest.categories == (by_name["cat"], by_name["dog"], Category(91, "object"))
    assert manifest.mask_classes == 1
    assert manifest.model.task == "instance"
    assert (manifest.model.score_threshold, manifest.model.max_detections) == (0.05, 100)


def test_the_report_compares_the_detector(detecting: Path) -> None:
    report = read_manifest(detecting).parity
    assert report["passed"]
    for stage in ("detector's boxes", "detector's scores", "given boxes", "coarse masks"):
        assert report["stages"][stage]["scale"] > 0
    assert report["selection"]["detector"]["chosen"] > 0 and report["selection"]["detector"]["shared"] == 1


def test_another_graph_fails_the_comparison(tmp_path: Path) -> None:
    right = detector(tmp_path)
    plain = plain_detector(tmp_path / "bright.onnx", right)
    wrong = detector(tmp_path, input={"divide_by": 200.0})
    pictures = [by_channel(spot(96, 128, BOX, 190))]
    for shipped, passes in ((right, True), (wrong, False)):
        found = Measurements()
        compare_detectors(plain, shipped, pictures, found)
        report = found.report()
        assert report["passed"] == passes
    assert any("detector's scores" in failure for failure in report["failures"])


def test_boxes_scores_and_classes_are_the_detectors(predictor: InstancePredictor) -> None:
    found = predictor(IMAGE, InstanceOptions(score=0.1, resolution=56)).finish()
    assert [mask.category for mask in found.masks] == [DOG, CAT]
    assert [mask.score for mask in found.masks] == pytest.approx(SCORES, abs=0.01)
    assert np.abs(found.masks[0].box - np.array(BOX)).max() <= 128 / SIDE
    assert all(mask.side == 56 for mask in found.masks)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [DOG]),
        ({"score": 0.95}, []),
        ({"score": 0.1, "classes": frozenset([CAT])}, [CAT]),
        ({"score": 0.1, "max_instances": 1}, [DOG]),
        ({"score": 0.1, "classes": frozenset([ANY])}, []),
    ],
    ids=str,
)
def test_requests_choose_among_detections(
    chosen: dict[str, Any], expected: list[int], predictor: InstancePredictor
) -> None:
    found = predictor(IMAGE, InstanceOptions(**chosen)).finish()
    assert [mask.category for mask in found.masks] == expected


def test_given_boxes_are_not_detected(predictor: InstancePredictor) -> None:
    calls: list[int] = []

    def never(images: Any) -> Any:
        calls.append(len(images))
        raise AssertionError("the detector must not run")

    bypassed = dataclasses.replace(predictor, detector=never)
    prompts = (Prompt((5.0, 5.0, 60.0, 90.0)), Prompt((5.0, 5.0, 60.0, 90.0), DOG))
    found = bypassed(IMAGE, InstanceOptions(prompts=prompts)).finish()
    assert [mask.category for mask in found.masks] == [ANY, DOG] and not calls
    assert torch.equal(found.masks[0].logits, found.masks[1].logits)


def test_a_picture_without_detections_has_no_masks(predictor: InstancePredictor) -> None:
    assert predictor(spot(96, 128, BOX, 0), InstanceOptions(score=0)).finish().masks == ()


def test_a_batch_may_hold_both_kinds_of_requests(predictor: InstancePredictor) -> None:
    every = InstanceOptions(score=0.1, resolution=28)
    options = [every, dataclasses.replace(every, prompts=(Prompt((5.0, 5.0, 60.0, 90.0)),)), every, every]
    images = [IMAGE, IMAGE, spot(96, 128, BOX, 0), spot(96, 128, (50, 10, 100, 90))]
    batch = predictor.detect([predictor.prepare(i, o) for i, o in zip(images, options, strict=True)])
    assert [image.given for image in batch] == [2, 1, 0, 2]
    coarse = predictor.coarse(batch)
    together = [predictor.begin(coarse, i, batch[i], options[i]) for i in range(4)]
    predictor.render(together)
    for image, option, prediction in zip(images, options, together, strict=True):
        alone, shared = predictor(image, option).finish().masks, prediction.finish().masks
        assert [(m.category, m.box.tolist()) for m in alone] == [(m.category, m.box.tolist()) for m in shared]
        assert [m.score for m in alone] == pytest.approx([m.score for m in shared], abs=1e-5)
        for one, other in zip(alone, shared, strict=True):
            torch.testing.assert_close(one.logits, other.logits, atol=1e-3, rtol=1e-3)


def test_the_bundle_predicts_what_the_network_does(
    predictor: InstancePredictor, eager: InstancePredictor
) -> None:
    options = InstanceOptions(score=0.1, resolution=56, explain=True)
    ours, theirs = (each(IMAGE, options).finish().masks for each in (predictor, eager))
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        assert (one.category, one.score, one.box.tolist()) == (
            other.category,
            other.score,
            other.box.tolist(),
        )
        assert (one.logits - other.logits).abs().quantile(0.99) < 1e-3
        assert one.explanation is not None


def test_the_golden_picture_includes_the_detector(detecting: Path, predictor: InstancePredictor) -> None:
    known = read_manifest(detecting).goldens
    assert list(known) == ["instance", "detector"]
    part: Any = known["detector"]
    assert part.classes == (DOG, CAT) and part.difference(golden("detector", predictor)) == ""
    empty = DetectorGolden((), (), ())
    assert "does not find class 1" in part.difference(empty)
    assert "finds 2 things" in empty.difference(part)
    moved = dataclasses.replace(part, boxes=tuple((x0 + 3, y0, x1, y1) for x0, y0, x1, y1 in part.boxes))
    assert "does not find" in part.difference(moved)


def damaged(detecting: Path, folder: Path) -> Path:
    return Path(shutil.copytree(detecting, folder / "bundle"))


def test_another_detector_is_refused(detecting: Path, tmp_path: Path) -> None:
    folder = damaged(detecting, tmp_path)
    shutil.copy(write_graph(tmp_path, cxcywh=True), folder / DETECTOR)
    with pytest.raises(
        BundleError, match=r"detector.onnx is not the file that was exported \(its hash differs\)"
    ):
        open_bundle(folder)
    (folder / DETECTOR).unlink()
    with pytest.raises(BundleError, match=r"is damaged: detector.onnx is missing"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["files"].pop(DETECTOR), "the manifest lists no detector.onnx"),
        (
            lambda data: data["categories"].pop(),
            "the categories are not the detector's classes and the mask head's",
        ),
        (
            lambda data: data["model"]["detector"]["settings"]["input"].update(height=9999),
            "model.instance.detector.settings.input.height: Input should be less than or equal to 2048",
        ),
        (
            lambda data: data["model"]["detector"]["settings"]["input"].update(image="other"),
            "detector.onnx does not fit its settings: it has no usable input 'other'",
        ),
        (
            lambda data: data.update(schema=1),
            "has schema 1; this version reads 2, 3, 4: export the model again",
        ),
    ],
)
def test_a_damaged_manifest_is_refused(change: Any, message: str, detecting: Path, tmp_path: Path) -> None:
    folder = damaged(detecting, tmp_path)
    data = json.loads((folder / MANIFEST).read_text())
    change(data)
    (folder / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(BundleError) as refusal:
        open_bundle(folder)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (mask_head(numbered(2)), "--detector needs a mask head of one class for all boxes"),
        (load_any("tiny_semantic"), "--detector is for models of instances: label maps have no boxes"),
    ],
    ids=["two classes", "semantic"],
)
def test_only_mask_heads_of_one_class_take_a_detector(checkpoint: Any, message: str, tmp_path: Path) -> None:
    chosen = DetectorFile(write_graph(tmp_path), settings(tmp_path))
    with pytest.raises(UserError, match=message):
        write_bundle(checkpoint, tmp_path / "out", name="x", source={}, detector=chosen)
    assert not (tmp_path / "out").exists()


def test_the_mask_heads_class_may_be_one_of_the_detectors(tmp_path: Path) -> None:
    assert OBJECT.name not in settings(tmp_path).class_names
    found: Any = eager_predictor(mask_head((Category(1, "dog"),)))
    named = dataclasses.replace(found, detector=detector(tmp_path), mask_category=DOG)
    prediction = named(IMAGE, InstanceOptions(prompts=(Prompt((5.0, 5.0, 60.0, 90.0)),))).finish()
    assert [mask.category for mask in prediction.masks] == [DOG]
