"""Bundles: what is written comes back, and every other folder is refused with one clear line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from export.bundle import (
    GRAPH,
    MANIFEST,
    POINT_HEAD,
    SCHEMA,
    BundleError,
    Execution,
    Manifest,
    open_bundle,
    read_manifest,
    sha256,
)
from export.parity import picture
from export.write import write_bundle
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.config.instance import PointRendConfig
from model.config.parts import Preprocessing
from model.predict.instance import InstanceOptions
from model.predict.predictor import Prompt
from tests.parity.goldens import load_checkpoint

Export = Callable[[str], Path]
WHOLE = Manifest(
    name="tiny",
    task="instance",
    categories=(Category(7, "Hündin"), Category(3, "dog")),
    preprocessing=Preprocessing("RGB", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 96, 192),
    score_threshold=0.05,
    max_detections=12,
    point_head=PointRendConfig(conv_dim=8),
    fine_channels=32,
    opset=18,
    files={GRAPH: "0" * 64, POINT_HEAD: "1" * 64},
    source={"checkpoint": "model.pkl"},
    parity={"passed": True, "cases": [{"fine": 1e-6}]},
)


@pytest.fixture
def bundle(exported: Export, tmp_path: Path) -> Path:
    """A copy of an exported bundle, to be damaged."""
    return Path(shutil.copytree(exported("tiny_r50"), tmp_path / "bundle"))


def refused(folder: Path, execution: Execution | None = None) -> str:
    with pytest.raises(BundleError) as refusal:
        open_bundle(folder, execution)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def change(folder: Path, **changes: Any) -> None:
    """Rewrite parts of the manifest; None takes one out."""
    data = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps({k: v for k, v in data.items() if v is not None}))


@pytest.mark.parametrize("manifest", [WHOLE, dataclasses.replace(WHOLE, point_head=None, files={GRAPH: "0"})])
def test_manifests_come_back(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert read_manifest(tmp_path) == manifest


def test_an_exported_bundle_describes_itself(exported: Export) -> None:
    folder, checkpoint = exported("tiny_r50"), load_checkpoint("tiny_r50")
    assert sorted(p.name for p in folder.iterdir()) == sorted([GRAPH, POINT_HEAD, MANIFEST])
    manifest = read_manifest(folder)
    assert (manifest.name, manifest.task, manifest.schema) == ("tiny_r50", "instance", SCHEMA)
    assert manifest.categories == checkpoint.categories
    assert manifest.preprocessing == checkpoint.config.preprocessing
    assert manifest.point_head == checkpoint.config.mask
    assert manifest.files == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (GRAPH, POINT_HEAD)
    }
    assert manifest.parity["passed"] and len(manifest.parity["cases"]) >= 4


def test_other_users_may_read_a_bundle(exported: Export, tmp_path: Path) -> None:
    """A server runs as somebody else than the exporter, for instance in a container."""
    tmp_path.joinpath("ordinary").mkdir()
    ordinary = tmp_path.joinpath("ordinary").stat().st_mode
    assert exported("tiny_r50").stat().st_mode == ordinary
    (tmp_path / "file").touch()
    for file in exported("tiny_r50").iterdir():
        assert file.stat().st_mode == (tmp_path / "file").stat().st_mode


def test_an_opened_bundle_predicts_like_the_network(exported: Export) -> None:
    opened = open_bundle(exported("tiny_r50"), Execution(threads=1))
    assert opened.providers == ("CPUExecutionProvider",)
    opened.release()  # a pass, so its inputs must suit the graph
    image = picture(120, 160, 0)
    options = InstanceOptions(resolution=56, score=0.3, prompts=None)
    small = dataclasses.replace(opened.predictor.preprocessing, short_edge=120, long_edge=160)
    eager = eager_predictor(load_checkpoint("tiny_r50"))
    both = [dataclasses.replace(p, preprocessing=small)(image, options) for p in (eager, opened.predictor)]
    assert len(both[0]) == len(both[1]) > 3
    for one, other in zip(*both, strict=True):
        assert one.category == other.category and one.score == pytest.approx(other.score, abs=1e-3)
        np.testing.assert_allclose(one.box, other.box, atol=0.1)
        same = (one.render.probability() >= 0.5) == (other.render.probability() >= 0.5)
        assert float(same.float().mean()) > 0.99


def test_scores_of_box_and_mask_pass_through_the_graph(tmp_path: Path) -> None:
    """Writing it compares it with the network, also without any region; this says that it has other scores."""
    plain = load_checkpoint("tiny_r50")
    checkpoint = dataclasses.replace(plain, config=dataclasses.replace(plain.config, mask_score=True))
    write_bundle(checkpoint, tmp_path / "both", name="both", source={}, full_size=False)
    options, totals = InstanceOptions(resolution=28, score=0.0), []
    for predictor in (open_bundle(tmp_path / "both").predictor, *map(eager_predictor, (checkpoint, plain))):
        pixels = dataclasses.replace(predictor.preprocessing, short_edge=96, long_edge=192)
        found = dataclasses.replace(predictor, preprocessing=pixels)(picture(96, 128, 1), options)
        totals.append(sum(region.score for region in found))
    assert totals[0] == pytest.approx(totals[1], abs=1e-3) and totals[0] < 0.95 * totals[2]


def test_given_boxes_pass_through_the_graph(exported: Export) -> None:
    predictor = open_bundle(exported("tiny_r50")).predictor
    pixels = dataclasses.replace(predictor.preprocessing, short_edge=100, long_edge=160)
    predictor = dataclasses.replace(predictor, preprocessing=pixels)
    prompts = (Prompt((10.0, 20.0, 90.0, 80.0), 4), Prompt((50.0, 5.0, 60.0, 15.0)))
    found = predictor(picture(100, 150, 0), InstanceOptions(resolution=28, prompts=prompts))
    assert found[0].category == 4 and len(found) == 2
    np.testing.assert_allclose(found[0].box, prompts[0].box, atol=1e-3)


@pytest.mark.parametrize("name", [GRAPH, POINT_HEAD])
def test_a_flipped_byte_is_noticed(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert refused(bundle).endswith(
        f"is damaged: {name} is not the file that was exported (its hash differs)"
    )


@pytest.mark.parametrize("name", [GRAPH, POINT_HEAD])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert refused(bundle).endswith(f"is damaged: {name} is missing")


@pytest.mark.parametrize("name", [GRAPH, POINT_HEAD])
def test_an_unlisted_file_is_named(bundle: Path, name: str) -> None:
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    del files[name]
    change(bundle, files=files)
    assert refused(bundle).endswith(f"is damaged: the manifest lists no {name}")


def test_files_outside_of_the_folder_are_not_read(bundle: Path) -> None:
    outside = bundle.parent / "outside"
    outside.write_text("x")
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    change(bundle, files=files | {"../outside": sha256(outside)})
    assert "../outside is missing" in refused(bundle)


def test_a_folder_without_manifest_is_no_bundle(bundle: Path, tmp_path: Path) -> None:
    (bundle / MANIFEST).unlink()
    for folder in (bundle, tmp_path / "nowhere"):
        assert refused(folder) == f"{folder} is no bundle: it has no {MANIFEST}"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "{}", '{"name": "x"}', "\x00\xff"])
def test_a_foreign_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    assert "is not a bundle's manifest" in refused(tmp_path)


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, "1"])
def test_another_schema_is_refused(schema: int | str, bundle: Path) -> None:
    change(bundle, schema=schema)
    assert f"has schema {schema!r}; this version reads {SCHEMA}: export the model again" in refused(bundle)


def test_another_task_is_refused(bundle: Path) -> None:
    change(bundle, task="semantic")
    assert "is for task 'semantic'" in refused(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": None},
        {"categories": [{"id": 1}]},
        {"categories": "many"},
        {"preprocessing": {"mean": [1, 2, 3]}},
        {"preprocessing": None},
        {"point_head": {"colour": 1}},
        {"colour": 1},
        {"opset": None},
        {"files": None},
        {"files": ["coarse.onnx", "point_head.safetensors"]},
        {"fine_channels": "32"},
        {"max_detections": 1.5},
        {
            "preprocessing": {
                "channel_order": "RGB",
                "mean": [1, 2],
                "std": [1, 2, 3],
                "short_edge": 9,
                "long_edge": 9,
            }
        },
        {"golden": {"score": 1}},
        {"files": {"coarse.onnx": None, "point_head.safetensors": None}},
    ],
    ids=str,
)
def test_a_damaged_manifest_is_refused(changes: dict[str, Any], bundle: Path) -> None:
    change(bundle, **changes)
    assert "damaged" in refused(bundle)


@pytest.mark.parametrize(
    "changes",
    [{"categories": [{"id": 1, "name": "one"}]}, {"fine_channels": 7}, {"point_head": {"point_dim": 5}}],
    ids=str,
)
def test_a_manifest_of_another_network_is_refused(changes: dict[str, Any], bundle: Path) -> None:
    """Every file is whole, but the point head is not the one that the manifest describes."""
    change(bundle, **changes)
    assert refused(bundle).endswith(f"is damaged: {POINT_HEAD} does not fit its {MANIFEST}")


def test_a_graph_that_is_none_is_refused(bundle: Path) -> None:
    (bundle / GRAPH).write_bytes(b"no graph")
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    change(bundle, files=files | {GRAPH: sha256(bundle / GRAPH)})
    assert f"{bundle / GRAPH} cannot be loaded: " in refused(bundle)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(exported: Export, capfd: pytest.CaptureFixture[str]) -> None:
    message = refused(exported("tiny_r50"), Execution(device="cuda"))
    capfd.readouterr()  # ONNX Runtime says on stderr which library it misses
    assert "cuda" in message.lower()
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert message.startswith(
            "cuda was asked for, but ONNX Runtime can only use ['CPUExecutionProvider']"
        )
        assert message.endswith("or use device cpu")


def test_opening_pays_no_heed_to_the_working_directory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    assert open_bundle(Path(os.path.relpath(bundle))).manifest.name == "tiny_r50"
