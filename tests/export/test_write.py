"""Writing a bundle: it appears as a whole and only if it passes."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export import parity, write
from export.bundle import POINT_HEAD, open_bundle
from export.errors import ParityError
from export.graph import export_staged
from export.manifest import MANIFEST, read_manifest
from export.measurements import Report
from export.write import check_out, write_bundle
from model.checkpoints.checkpoint import Checkpoint
from model.config.categories import numbered
from model.config.parts import TimmConfig
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticPointConfig
from model.errors import UserError
from model.networks.build import CoarsePass
from tests.export.presets import random_pass
from tests.export.wrong_graphs import missing_norm
from tests.model import tiny_semantic
from tests.parity.goldens import load_any

Export = Callable[[str], Path]


def report(passed: bool) -> Report:
    failures = [] if passed else ["detected boxes 3 of 90"]
    return {"passed": passed, "failures": failures, "stages": {}, "selection": {}}


@pytest.fixture
def quick(exported: Export, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Writing without exporting: an earlier graph stands in, and the result of the comparison is given."""
    graph, boxes = (exported("tiny_r50") / name for name in ("coarse.onnx", "boxes.onnx"))

    def export(_: Any, path: Path) -> list[str]:
        shutil.copy(graph, path)
        return ["boxes", "scores", "classes", "batch", "coarse", "fine"]

    monkeypatch.setattr(write, "export_staged", export)
    monkeypatch.setattr(write, "export_boxes", lambda _, path: shutil.copy(boxes, path))
    monkeypatch.setattr(parity, "measure_boxes", lambda *_: None)

    def outcome(passed: bool) -> None:
        monkeypatch.setattr(parity, "check", lambda *_: report(passed))

    return outcome


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(out: Path, name: str = "tiny", sha256: str = "1", replace: bool = False) -> Report:
    source = {"checkpoint": "c.pkl", "sha256": sha256}
    return write_bundle(load_any("tiny_r50"), out, name=name, source=source, replace=replace)


def test_a_failed_comparison_leaves_no_bundle(quick: Callable[[bool], None], tmp_path: Path) -> None:
    quick(False)
    with pytest.raises(ParityError, match="differs from the network: detected boxes 3 of 90"):
        put(tmp_path / "deep" / "out")
    assert content(tmp_path) == {} and not (tmp_path / "deep" / "out").exists()


def test_a_failed_comparison_leaves_the_older_bundle(quick: Callable[[bool], None], tmp_path: Path) -> None:
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
        f"out/{f}" for f in ("boxes.onnx", "bundle.json", "coarse.onnx", "point_head.safetensors")
    }


def test_a_bundle_of_another_checkpoint_is_replaced_only_if_asked(
    quick: Callable[[bool], None], tmp_path: Path
) -> None:
    quick(True)
    put(tmp_path / "out")
    before = content(tmp_path)
    with pytest.raises(UserError, match=r"out holds a bundle of another checkpoint \(c\.pkl\): .*--replace"):
        put(tmp_path / "out", sha256="2")
    assert content(tmp_path) == before
    put(tmp_path / "out", sha256="2", replace=True)
    assert read_manifest(tmp_path / "out").source["sha256"] == "2"


def test_a_bundle_with_other_changes_is_another_one(quick: Callable[[bool], None], tmp_path: Path) -> None:
    quick(True)
    put(tmp_path / "out")
    source = read_manifest(tmp_path / "out").source
    check_out(tmp_path / "out", source, replace=False)
    with pytest.raises(
        UserError, match=r"out holds a bundle of other changes \(--set\) \(c\.pkl\): .*--replace"
    ):
        check_out(tmp_path / "out", source | {"changes": "mask_score=false"}, replace=False)


@pytest.mark.parametrize("manifest", ["", "[]", '{"source": 7}', '{"schema": 1, "source": {}}'])
def test_a_bundle_of_an_unknown_checkpoint_is_one_of_another(manifest: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(UserError, match=r"another checkpoint \(unknown\)"):
        check_out(tmp_path, {"sha256": "1"}, replace=False)
    check_out(tmp_path, {"sha256": "1"}, replace=True)


def test_a_bundle_of_an_older_schema_is_known_by_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"schema": 1, "source": {"sha256": "1"}}')
    check_out(tmp_path, {"sha256": "1"}, replace=False)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file: name a folder"):
        check_out(tmp_path / "file", {}, replace=True)


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


KINDS = {
    "deeplab_os8": dataclasses.replace(
        tiny_semantic.DEEPLAB, base=DeepLabV3Config(8, channels=8), point=None
    ),
    "fpn_p3_coarse_each_layer": dataclasses.replace(
        tiny_semantic.FROM_P3, point=SemanticPointConfig(16, 2, coarse_each_layer=True)
    ),
}


def small(kind: str) -> Checkpoint[SemanticConfig]:
    """Return a network of this kind over a trunk of few layers, so that it is exported in seconds."""
    config = dataclasses.replace(KINDS[kind], backbone=TimmConfig("test_resnet", freeze_at=0))
    network = random_pass(config, 0).network
    return Checkpoint(config, numbered(config.num_classes), dict(network.state_dict()))


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_semantic_networks_are_exported(kind: str, tmp_path: Path) -> None:
    checkpoint = small(kind)
    config = checkpoint.config
    found = write_bundle(checkpoint, tmp_path / "b", name="b", source={}, full_size=False)
    opened = open_bundle(tmp_path / "b")
    assert found["passed"] and opened.manifest.model.task == "semantic"
    assert opened.manifest.model.stride == config.base.stride
    assert (opened.predictor.head is None) == (config.point is None)
    assert (tmp_path / "b" / POINT_HEAD).exists() == (config.point is not None)


def test_a_wrong_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(coarse: CoarsePass, path: Path) -> list[str]:
        with missing_norm(coarse):
            return export_staged(coarse, path)

    monkeypatch.setattr(write, "export_staged", export)
    with pytest.raises(ParityError, match="differs from the network: .* of "):
        write_bundle(small("deeplab_os8"), tmp_path / "b", name="b", source={}, full_size=False)
    assert not list(tmp_path.iterdir())
