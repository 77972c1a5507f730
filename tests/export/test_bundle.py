"""Bundles: what is exported describes itself and predicts like its network; damaged folders are refused in one line."""

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
import pytest
import torch

from export.bundle import BOXES, GRAPH, POINT_HEAD, open_bundle, sha256
from export.errors import BundleError
from export.golden import golden
from export.manifest import MANIFEST, read_manifest
from export.session import Execution
from export.trials import picture
from model.checkpoints.eager import eager_predictor
from model.predict.instance import InstanceOptions
from model.predict.label_map import LabelMapOptions
from model.predict.predictor import Prompt
from tests.parity.goldens import FOLDER, SEMANTIC, load, load_any
from tests.service.test_requirements import python

Export = Callable[[str], Path]
BOTH = pytest.mark.parametrize("name", ["tiny_r50", "tiny_semantic"])


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
    """Replace parts of the manifest."""
    data = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(data))


def sized(predictor: Any, short_edge: int, long_edge: int) -> Any:
    """Return the predictor with another size of the network's input."""
    pixels = dataclasses.replace(predictor.preprocessing, short_edge=short_edge, long_edge=long_edge)
    return dataclasses.replace(predictor, preprocessing=pixels)


@BOTH
def test_an_exported_bundle_describes_itself(name: str, exported: Export) -> None:
    folder, checkpoint = exported(name), load_any(name)
    files = (GRAPH, POINT_HEAD) + ((BOXES,) if checkpoint.config.task == "instance" else ())
    assert sorted(p.name for p in folder.iterdir()) == sorted([*files, MANIFEST])
    manifest = read_manifest(folder)
    assert (manifest.name, manifest.task) == (name, checkpoint.config.task)
    assert manifest.categories == checkpoint.categories
    assert manifest.preprocessing == checkpoint.config.preprocessing
    assert manifest.source == {"imported_from": f"{name}.pkl"}
    assert manifest.files == {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files
    }
    assert manifest.parity["passed"] and len(manifest.parity["stages"]) >= 3


def test_what_only_one_task_needs(exported: Export) -> None:
    instance, semantic = (load_any(name) for name in ("tiny_r50", "tiny_semantic"))
    model = read_manifest(exported("tiny_r50")).model
    assert model.task == "instance" and instance.config.task == "instance"
    assert model.point_head == instance.config.mask
    assert model.max_detections == instance.config.box.max_detections
    model = read_manifest(exported("tiny_semantic")).model
    assert model.task == "semantic" and semantic.config.task == "semantic"
    assert (model.point_head, model.palette, model.stride) == (semantic.config.point, semantic.palette, 4)


def test_other_users_may_read_a_bundle(exported: Export, tmp_path: Path) -> None:
    """A server runs as somebody else than the exporter, for instance in a container."""
    tmp_path.joinpath("ordinary").mkdir()
    ordinary = tmp_path.joinpath("ordinary").stat().st_mode
    assert exported("tiny_r50").stat().st_mode == ordinary
    (tmp_path / "file").touch()
    for file in exported("tiny_r50").iterdir():
        assert file.stat().st_mode == (tmp_path / "file").stat().st_mode


def test_instances_are_those_of_the_network(exported: Export) -> None:
    opened = open_bundle(exported("tiny_r50"), Execution(threads=1))
    assert opened.providers == ("CPUExecutionProvider",)
    opened.release()  # runs a pass, so its inputs must suit the graph
    image, options = picture(120, 160, 0), InstanceOptions(resolution=56, score=0.3)
    one, other = (
        sized(predictor, 120, 160)(image, options).finish().masks
        for predictor in (eager_predictor(load_any("tiny_r50")), opened.predictor)
    )
    assert len(one) == len(other) > 3
    for mask, same in zip(one, other, strict=True):
        assert mask.category == same.category and mask.score == pytest.approx(same.score, abs=1e-3)
        np.testing.assert_allclose(mask.box, same.box, atol=0.1)
        assert float(((mask.logits >= 0) == (same.logits >= 0)).float().mean()) > 0.99


def test_label_maps_are_those_of_the_network(exported: Export) -> None:
    opened = open_bundle(exported("tiny_semantic"))
    assert opened.providers == ("CPUExecutionProvider",)
    opened.release()
    image, options = load(SEMANTIC).image, LabelMapOptions(resolution=512)
    predictors: list[Any] = [eager_predictor(load_any("tiny_semantic")), opened.predictor]
    one, other = (predictor(image, options).finish().labels(512, 768) for predictor in predictors)
    assert float(np.mean(one == other)) >= 0.995


def test_given_boxes_pass_through_the_graph(exported: Export) -> None:
    predictor = sized(open_bundle(exported("tiny_r50")).predictor, 100, 160)
    prompts = (Prompt((10.0, 20.0, 90.0, 80.0), 4), Prompt((50.0, 5.0, 60.0, 15.0)))
    found = predictor(picture(100, 150, 0), InstanceOptions(resolution=28, prompts=prompts)).finish().masks
    assert found[0].category == 4 and len(found) == 2
    np.testing.assert_allclose(found[0].box, prompts[0].box, atol=1e-3)


def kept_boxes(predictor: Any, image: Any, options: InstanceOptions) -> Any:
    """Return the masks of given boxes from the features of a pass that looked for no box."""
    one = predictor.prepare(image, InstanceOptions(resolution=28, score=1.0, keep=True))
    features = predictor.begin(predictor.coarse([one]), 0, one, InstanceOptions(score=1.0)).features
    prepared = features.prepared(options.prompts, keep=False)
    found = predictor.begin(predictor.boxes(features, prepared), 0, prepared, options)
    predictor.render([found])
    return found.finish().masks


@pytest.mark.parametrize("size", [(100, 150), (150, 100), (64, 64)])
def test_boxes_of_kept_features_are_those_of_the_whole_graph_and_of_the_network(
    size: tuple[int, int], exported: Export
) -> None:
    image = picture(*size, 3)
    prompts = (
        Prompt((10.0, 20.0, 90.0, 80.0), 4),
        Prompt((30.5, 5.0, 60.0, 35.0)),
        Prompt((0.0, 0.0, 999.0, 999.0)),
    )
    options = InstanceOptions(resolution=28, prompts=prompts)
    graph, network = (
        sized(each, 100, 160)
        for each in (open_bundle(exported("tiny_r50")).predictor, eager_predictor(load_any("tiny_r50")))
    )
    expected = graph(image, options).finish().masks
    for predictor in (graph, network):
        found = kept_boxes(predictor, image, options)
        assert len(found) == len(expected) == 3
        for own, other in zip(found, expected, strict=True):
            assert own.category == other.category and own.score == pytest.approx(other.score, abs=1e-4)
            np.testing.assert_allclose(own.box, other.box, atol=1e-3)
            np.testing.assert_allclose(own.probability, other.probability, atol=1e-3)


def test_a_pass_returns_features_only_if_they_are_asked_for(exported: Export) -> None:
    predictor: Any = open_bundle(exported("tiny_r50")).predictor
    one = predictor.prepare(picture(100, 150, 0), InstanceOptions())
    found = predictor.run(predictor.inputs([one]))
    assert set(found) == {"boxes", "scores", "classes", "batch", "coarse", "fine"}


def test_a_bundle_of_an_earlier_schema_has_no_box_pass(bundle: Path) -> None:
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    (bundle / BOXES).unlink()
    change(bundle, schema=3, files={name: value for name, value in files.items() if name != BOXES})
    predictor: Any = open_bundle(bundle).predictor
    assert predictor.box_runs is None
    one = predictor.prepare(picture(100, 150, 0), InstanceOptions(keep=True))
    assert predictor.begin(predictor.coarse([one]), 0, one, InstanceOptions(keep=True)).features is None


def test_a_batch_of_label_maps_is_its_images_alone(exported: Export) -> None:
    predictor: Any = open_bundle(exported("tiny_semantic")).predictor
    options = LabelMapOptions()
    images = [predictor.prepare(picture(120, 160, seed), options) for seed in range(3)]
    together = predictor.coarse(images)
    for i, image in enumerate(images):
        alone = predictor.coarse([image])
        for batch, single in zip(together, alone, strict=True):
            assert float((batch[i] - single[0]).abs().max()) <= 1e-3 * float(single.abs().max())
        pair = [predictor.begin(c, j, image, options) for c, j in ((together, i), (alone, 0))]
        predictor.render(pair)
        one, other = (prediction.finish().labels(120, 160) for prediction in pair)
        assert (one == other).mean() >= 0.995


@BOTH
def test_it_sees_the_golden_picture(name: str, exported: Export) -> None:
    opened = open_bundle(exported(name))
    known: Any = opened.manifest.model.golden
    assert known.difference(golden(opened.manifest.task, opened.predictor)) == ""
    assert known.difference(golden(opened.manifest.task, eager_predictor(load_any(name)))) == ""


@pytest.mark.parametrize("name", [GRAPH, BOXES, POINT_HEAD])
def test_a_flipped_byte_is_noticed(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert refused(bundle).endswith(
        f"is damaged: {name} is not the file that was exported (its hash differs)"
    )


@pytest.mark.parametrize("name", [GRAPH, BOXES, POINT_HEAD])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert refused(bundle).endswith(f"is damaged: {name} is missing")


@pytest.mark.parametrize("names", [[GRAPH], [POINT_HEAD], [GRAPH, POINT_HEAD]])
def test_an_unlisted_file_is_named(bundle: Path, names: list[str]) -> None:
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    change(bundle, files={name: value for name, value in files.items() if name not in names})
    assert refused(bundle).endswith(f"is damaged: the manifest lists no {', '.join(names)}")


def test_files_outside_of_the_folder_are_not_read(bundle: Path) -> None:
    outside = bundle.parent / "outside"
    outside.write_text("x")
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    change(bundle, files=files | {"../outside": sha256(outside)})
    assert "../outside is missing" in refused(bundle)


@pytest.mark.parametrize("part", ["categories", "fine_channels", "point_head"])
def test_a_manifest_of_another_network_is_refused(bundle: Path, part: str) -> None:
    """Every file is whole, but the point head is not the one that the manifest describes."""
    model = json.loads((bundle / MANIFEST).read_text())["model"]
    values: dict[str, dict[str, Any]] = {
        "categories": {"categories": [{"id": 1, "name": "one"}]},
        "fine_channels": {"fine_channels": 7},
        "point_head": {"model": model | {"point_head": {"point_dim": 5}}},
    }
    change(bundle, **values[part])
    assert refused(bundle).endswith(f"is damaged: {POINT_HEAD} does not fit its {MANIFEST}")


def test_a_graph_that_is_none_is_refused(bundle: Path) -> None:
    (bundle / GRAPH).write_bytes(b"no graph")
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    change(bundle, files=files | {GRAPH: sha256(bundle / GRAPH)})
    assert f"{bundle / GRAPH} cannot be loaded: " in refused(bundle)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(
    exported: Export, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(exported("tiny_r50"), Execution(device="cuda")).startswith("device cuda: ")
    monkeypatch.setattr("export.session.check_installed_cuda", lambda: None)
    message = refused(exported("tiny_r50"), Execution(device="cuda"))
    capfd.readouterr()  # ONNX Runtime says on stderr which library it misses
    assert message.startswith("cuda was asked for, but ONNX Runtime can only use ['CPUExecutionProvider']")
    assert message.endswith("or use device cpu")


def test_opening_pays_no_heed_to_the_working_directory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    assert open_bundle(Path(os.path.relpath(bundle))).manifest.name == "tiny_r50"


def test_a_server_needs_no_training_package(exported: Export) -> None:
    code = """
from pathlib import Path
import numpy as np
from PIL import Image
from export.bundle import open_bundle
from model.predict.label_map import LabelMapOptions
bundle, picture = map(Path, sys.argv[1:])
with Image.open(picture) as opened:
    image = np.asarray(opened.convert("RGB"))
found = open_bundle(bundle).predictor(image, LabelMapOptions()).finish()
assert len(np.unique(found.labels(*image.shape[:2]))) > 1
"""
    python(code, exported("tiny_semantic"), FOLDER / "coffee.png")
