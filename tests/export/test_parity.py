"""The proof that a bundle is the network: what it measures, and what happens when it fails."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from export import parity, write
from export.manifest import MANIFEST, read_manifest
from export.parity import Case, Tolerance, compare, picture, table
from export.write import ParityError, write_bundle
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.predict.coarse import InstanceCoarse
from model.predict.instance import InstancePredictor
from tests.parity.goldens import load_checkpoint

Export = Callable[[str], Path]
GOOD = Case(1, 10, 20, 5, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0, 1.0)


def small(checkpoint: Checkpoint) -> InstancePredictor:
    made = eager_predictor(checkpoint)
    pixels = dataclasses.replace(made.preprocessing, short_edge=96, long_edge=128)
    return dataclasses.replace(made, preprocessing=pixels)


@cache
def network() -> InstancePredictor:
    return small(load_checkpoint("tiny_r50"))


def perturbed(part: str, by: float) -> InstancePredictor:
    """The same network with one weight's values moved."""
    opened = load_checkpoint("tiny_r50")
    names = [name for name in opened.tensors if name.startswith(part)]
    assert names
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: t * (1 + by * torch.randn(t.shape, generator=generator))
        for name, t in opened.tensors.items()
        if name in names and t.is_floating_point()
    }
    return small(dataclasses.replace(opened, tensors=opened.tensors | moved))


def images(count: int = 2) -> list[Any]:
    return [picture(96, 128, seed) for seed in range(count)]


@pytest.mark.parametrize("name", ["tiny_r50", "tiny_conv"])
def test_a_network_is_itself(name: str) -> None:
    predictor = small(load_checkpoint(name))
    found = compare(predictor, predictor, images())
    assert (found.fine, found.coarse, found.score, found.box) == (0, 0, 0, 0)
    assert (found.unmatched, found.mask_iou) == (0, 1)
    assert (found.images, found.height, found.width) == (2, 96, 128) and found.detections > 3
    assert found.failures(Tolerance()) == []


@pytest.mark.parametrize(
    ("part", "by", "failing", "passing"),
    [
        ("backbone.trunk.res3.0.conv1.conv", 0.3, {"fine map", "coarse masks"}, set()),
        ("box_head.cls_score", 0.05, {"scores"}, {"fine map"}),
        ("box_head.bbox_pred", 0.3, {"boxes"}, {"fine map"}),
        ("mask_head.coarse.fc.1", 0.3, {"coarse masks", "mask IoU"}, {"fine map", "scores", "boxes"}),
        ("mask_head.point.fc.1", 1.0, {"mask IoU"}, {"fine map", "scores", "boxes"}),
    ],
)
def test_a_changed_weight_is_found_where_it_acts(
    part: str, by: float, failing: set[str], passing: set[str]
) -> None:
    failures = compare(network(), perturbed(part, by), images()).failures(Tolerance())
    named = {failure.rsplit(" ", 1)[0] for failure in failures}
    assert failing <= named and not passing & named


def test_missed_and_invented_detections_count() -> None:
    class Half:
        def __call__(self, *inputs: Any) -> InstanceCoarse:
            found = network().run(*inputs)
            kept = torch.ones(len(found.boxes), dtype=torch.bool)
            kept[::4] = False
            kept[-4:] = True  # the given boxes
            return found._replace(**{f: getattr(found, f)[kept] for f in found._fields[:5]})

    half = dataclasses.replace(network(), run=Half())
    for pair in ((network(), half), (half, network())):
        found = compare(*pair, images())
        assert 5 <= found.unmatched <= 7 and found.box == found.score == 0
        assert found.failures(Tolerance()) == [f"detections that only one found {found.unmatched}"]


@pytest.mark.parametrize(
    ("measure", "value", "name"),
    [
        ("fine", 0.002, "fine map 0.002"),
        ("coarse", float("nan"), "coarse masks nan"),
        ("score", 0.0011, "scores 0.0011"),
        ("box", 0.2, "boxes 0.2"),
        ("unmatched", 3, "detections that only one found 3"),
        ("mask_iou", 0.5, "mask IoU 0.5"),
    ],
)
def test_each_measure_fails_by_its_name(measure: str, value: float, name: str) -> None:
    assert GOOD.failures(Tolerance()) == []
    bad = dataclasses.replace(GOOD, **{measure: value})  # type: ignore[arg-type]
    assert bad.failures(Tolerance()) == [name]


def test_a_few_flipped_detections_are_tolerated() -> None:
    """Two an image, and one in fifty."""
    for images, detections, most in ((1, 5, 2), (3, 5, 6), (1, 100, 4)):
        case = dataclasses.replace(GOOD, images=images, detections=detections)
        assert dataclasses.replace(case, unmatched=most).failures(Tolerance()) == []
        assert dataclasses.replace(case, unmatched=most + 1).failures(Tolerance())


def test_the_check_covers_batches_and_shapes_and_says_what_failed() -> None:
    good = parity.check(network(), network(), full_size=False)
    assert good["passed"] and good["failures"] == []
    shapes = {(c["images"], c["height"] > c["width"], c["height"] == c["width"]) for c in good["cases"]}
    assert shapes == {(1, False, False), (3, False, False), (1, True, False), (1, False, True)}
    assert len(table(good).splitlines()) == len(good["cases"]) + 1
    bad = parity.check(network(), perturbed("mask_head.point.fc.1", 1.0), full_size=False)
    assert not bad["passed"] and bad["failures"] and "mask IoU" in bad["failures"][0]


# Writing


def report(passed: bool) -> dict[str, Any]:
    cases = [dataclasses.asdict(GOOD)]
    return {"passed": passed, "failures": [] if passed else ["1×10×20: boxes 3"], "cases": cases}


@pytest.fixture
def quick(exported: Export, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Writing without exporting: an earlier graph stands in, and the check's result is given."""
    graph = exported("tiny_r50") / "coarse.onnx"
    monkeypatch.setattr(write, "export_coarse", lambda _, path: shutil.copy(graph, path))

    def outcome(passed: bool) -> None:
        monkeypatch.setattr(parity, "check", lambda *_, **__: report(passed))

    return outcome


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(out: Path, name: str = "tiny") -> dict[str, Any]:
    return write_bundle(load_checkpoint("tiny_r50"), out, name=name, source={"checkpoint": "c.pkl"})


def test_a_failed_check_leaves_no_bundle(quick: Callable[[bool], None], tmp_path: Path) -> None:
    quick(False)
    with pytest.raises(ParityError, match="differs from the network: 1×10×20: boxes 3"):
        put(tmp_path / "deep" / "out")
    assert content(tmp_path) == {} and not (tmp_path / "deep" / "out").exists()


def test_a_failed_check_leaves_the_older_bundle(quick: Callable[[bool], None], tmp_path: Path) -> None:
    quick(True)
    put(tmp_path / "out")
    before = content(tmp_path)
    quick(False)
    with pytest.raises(ParityError):
        put(tmp_path / "out", "newer")
    assert content(tmp_path) == before


def test_an_older_bundle_is_replaced_as_a_whole(quick: Callable[[bool], None], tmp_path: Path) -> None:
    quick(True)
    put(tmp_path / "out")
    (tmp_path / "out" / "left_over").touch()
    assert put(tmp_path / "out", "newer")["passed"]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.name == "newer" and manifest.source["checkpoint"] == "c.pkl"
    assert manifest.parity == report(True)
    assert set(content(tmp_path)) == {
        f"out/{f}" for f in ("bundle.json", "coarse.onnx", "point_head.safetensors")
    }


def test_an_empty_folder_is_fine_and_a_foreign_one_is_refused(
    quick: Callable[[bool], None], tmp_path: Path
) -> None:
    quick(True)
    (tmp_path / "empty").mkdir()
    put(tmp_path / "empty")
    assert (tmp_path / "empty" / MANIFEST).is_file()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no bundle: name another folder"):
        put(foreign)
    assert content(foreign) == {"thesis.tex": b"years of work"}
