"""Semantic bundles: what is written comes back and predicts like the network; every other folder is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export.semantic_bundle import (
    SemanticBundle,
    SemanticManifest,
    open_any_bundle,
    open_semantic_bundle,
    read_semantic_manifest,
)
from export.semantic_golden import SemanticGolden, semantic_agree, semantic_golden

from export import semantic_parity
from export.bundle import GRAPH, MANIFEST, POINT_HEAD, SCHEMA, Bundle, BundleError, read_manifest
from export.parity import picture
from export.semantic_parity import SemanticCase, SemanticTolerance, compare
from export.write import ParityError, write_bundle
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category, numbered
from model.config.parts import Preprocessing
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticFPNConfig, SemanticPointConfig
from model.predict.label_map import LabelMapOptions, LabelMapPredictor
from tests.model import tiny_semantic
from tests.parity.goldens import FOLDER, SEMANTIC, load
from tests.service.test_requirements import python

Export = Callable[[str], Path]
WHOLE = SemanticManifest(
    name="tiny",
    task="semantic",
    categories=(Category(7, "Straße"), Category(3, "sky")),
    palette=((1, 2, 3), (255, 0, 9)),
    preprocessing=Preprocessing("RGB", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 96, 192),
    point_head=SemanticPointConfig(8),
    fine_channels=32,
    stride=16,
    opset=18,
    files={GRAPH: "0" * 64, POINT_HEAD: "1" * 64},
    golden=SemanticGolden(0.5, (0, 1), ("ab", "cd")),
)


@pytest.fixture
def bundle(exported: Export, tmp_path: Path) -> Path:
    """A copy of an exported bundle, to be damaged."""
    return Path(shutil.copytree(exported("tiny_semantic"), tmp_path / "bundle"))


def change(folder: Path, **changes: Any) -> None:
    data = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps({k: v for k, v in data.items() if v is not None}))


def tiny(config: SemanticConfig) -> Checkpoint[SemanticConfig]:
    return Checkpoint(config, numbered(3), dict(tiny_semantic.network(config).state_dict()))


@pytest.mark.parametrize(
    "manifest", [WHOLE, dataclasses.replace(WHOLE, point_head=None, golden=None, files={GRAPH: "0"})]
)
def test_manifests_come_back(manifest: SemanticManifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert read_semantic_manifest(tmp_path) == manifest


def test_an_exported_bundle_describes_itself(exported: Export) -> None:
    folder, checkpoint = exported("tiny_semantic"), load(SEMANTIC).semantic
    assert sorted(p.name for p in folder.iterdir()) == sorted([GRAPH, POINT_HEAD, MANIFEST])
    manifest = read_semantic_manifest(folder)
    assert (manifest.name, manifest.task, manifest.schema) == ("tiny_semantic", "semantic", SCHEMA)
    assert (manifest.categories, manifest.palette) == (checkpoint.categories, checkpoint.palette)
    assert manifest.point_head == checkpoint.config.point and manifest.stride == 4
    assert manifest.source == {"imported_from": "tiny_semantic.pkl"}
    assert manifest.parity["passed"] and len(manifest.parity["cases"]) >= 4
    assert "equal labels" in semantic_parity.table(manifest.parity)


def test_either_task_is_opened(exported: Export) -> None:
    assert type(open_any_bundle(exported("tiny_semantic"))) is SemanticBundle
    assert type(open_any_bundle(exported("tiny_r50"))) is Bundle


def test_it_sees_the_golden_picture(exported: Export) -> None:
    opened = open_semantic_bundle(exported("tiny_semantic"))
    known = opened.manifest.golden
    assert known is not None and len(known.classes) > 1
    assert semantic_agree(known, semantic_golden(opened.predictor))
    assert semantic_agree(known, semantic_golden(eager_predictor(load(SEMANTIC).semantic)))
    assert not semantic_agree(known, dataclasses.replace(known, confidence=known.confidence - 0.03))
    swapped = dataclasses.replace(known, counts=known.counts[::-1])
    assert not semantic_agree(known, swapped)


def test_a_batch_is_its_images_alone(exported: Export) -> None:
    predictor = open_semantic_bundle(exported("tiny_semantic")).predictor
    images = [predictor.prepare(picture(120, 160, seed)) for seed in range(3)]
    together = predictor.coarse(images)
    for i, image in enumerate(images):
        alone = predictor.coarse([image])
        for batch, single in zip(together, alone, strict=True):
            assert batch is not None and single is not None
            assert float((batch[i] - single[0]).abs().max()) <= 1e-3 * float(single.abs().max())
        pair = [predictor.begin(c, j, image, LabelMapOptions()) for c, j in ((together, i), (alone, 0))]
        predictor.render(pair)
        assert (pair[0].labels(120, 160) == pair[1].labels(120, 160)).mean() >= 0.995


@pytest.mark.parametrize(
    "config",
    [
        tiny_semantic.DEEPLAB,
        dataclasses.replace(tiny_semantic.DEEPLAB, base=DeepLabV3Config(8, channels=8), point=None),
        dataclasses.replace(
            tiny_semantic.CONFIG,
            base=dataclasses.replace(tiny_semantic.CONFIG.base, first_level=3),
            point=SemanticPointConfig(16, 2, coarse_each_layer=True),
        ),
    ],
    ids=["deeplab_os16_pointrend", "deeplab_os8", "fpn_p3_coarse_each_layer"],
)
def test_every_kind_of_network_is_exported(config: SemanticConfig, tmp_path: Path) -> None:
    assert isinstance(config.base, SemanticFPNConfig | DeepLabV3Config)
    report = write_bundle(tiny(config), tmp_path / "b", name="b", source={}, full_size=False)
    opened = open_semantic_bundle(tmp_path / "b")
    assert report["passed"] and opened.manifest.stride == config.base.stride
    assert (opened.predictor.head is None) == (config.point is None)
    assert (tmp_path / "b" / POINT_HEAD).exists() == (config.point is not None)


def test_a_bundle_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = SemanticTolerance(relative=-1.0)
    monkeypatch.setattr(semantic_parity, "SemanticTolerance", lambda: strict)
    with pytest.raises(ParityError, match="differs from the network: .*coarse logits"):
        write_bundle(tiny(tiny_semantic.CONFIG), tmp_path / "b", name="b", source={}, full_size=False)
    assert not list(tmp_path.iterdir())


def test_differences_are_failures() -> None:
    good = SemanticCase(1, 9, 9, 0.0, 1.0, 0.0, 1.0, 1.0)
    assert good.failures(SemanticTolerance()) == []
    bad = dataclasses.replace(good, fine=0.1, coarse=0.2, equal=0.9)
    assert bad.failures(SemanticTolerance()) == ["fine map 0.1", "coarse logits 0.2", "equal labels 0.9"]


def test_another_network_is_told_apart() -> None:
    one, other = (eager_predictor(tiny(tiny_semantic.CONFIG)) for _ in range(2))
    images = [picture(64, 96, 0)]
    assert compare(one, other, images).failures(SemanticTolerance()) == []
    network = tiny_semantic.network(seed=1)
    torch.nn.init.normal_(network.head.predictor.weight)
    checkpoint = Checkpoint(network.config, numbered(3), dict(network.state_dict()))
    found: LabelMapPredictor = eager_predictor(checkpoint)
    assert len(compare(one, found, images).failures(SemanticTolerance())) >= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"palette": [[1, 2, 3]]}, "damaged: .*1 colours for 11 classes"),
        ({"palette": [[1, 2, 256]] * 11}, "damaged: .*not three numbers from 0 to 255"),
        ({"palette": None}, "damaged: KeyError\\('palette'\\)"),
        ({"stride": "4"}, "damaged: stride"),
        ({"colour": 1}, "damaged: .*colour"),
        ({"golden": {"confidence": 1.0}}, "damaged"),
        ({"files": {}}, "lists no coarse.onnx, point_head.safetensors"),
        ({"task": "panoptic"}, "for task 'panoptic', not 'semantic'"),
    ],
)
def test_damaged_manifests_are_refused(bundle: Path, changes: dict[str, Any], message: str) -> None:
    change(bundle, **changes)
    with pytest.raises(BundleError, match=message) as refusal:
        open_semantic_bundle(bundle)
    assert "\n" not in str(refusal.value)


def test_damaged_files_and_other_tasks_are_refused(bundle: Path, exported: Export) -> None:
    with pytest.raises(BundleError, match="for task 'semantic', not 'instance'"):
        read_manifest(bundle)
    with pytest.raises(BundleError, match="for task 'instance', not 'semantic'"):
        open_semantic_bundle(exported("tiny_r50"))
    (bundle / GRAPH).write_bytes(b"no graph")
    with pytest.raises(BundleError, match="coarse.onnx is not the file that was exported"):
        open_semantic_bundle(bundle)
    change(bundle, task="panoptic")
    with pytest.raises(BundleError, match="this version serves 'instance' and 'semantic'"):
        open_any_bundle(bundle)


def test_an_opened_bundle_predicts_like_the_network(exported: Export) -> None:
    opened = open_any_bundle(exported("tiny_semantic"))
    assert isinstance(opened, SemanticBundle) and opened.providers == ("CPUExecutionProvider",)
    opened.release()  # a pass, so its inputs must suit the graph
    image, options = load(SEMANTIC).image, LabelMapOptions(resolution=512)
    eager = eager_predictor(load(SEMANTIC).semantic)
    one, other = (predictor(image, options).labels(512, 768) for predictor in (eager, opened.predictor))
    assert float(np.mean(one == other)) >= 0.995


def test_a_server_needs_no_training_package(exported: Export) -> None:
    code = """
from pathlib import Path
import numpy as np
from PIL import Image
from export.semantic_bundle import open_any_bundle
from model.predict.label_map import LabelMapOptions, label_map, segments
bundle, picture = map(Path, sys.argv[1:])
with Image.open(picture) as opened:
    image = np.asarray(opened.convert("RGB"))
found = open_any_bundle(bundle).predictor(image, LabelMapOptions())
assert len(segments(label_map(found, *image.shape[:2]))) > 1
"""
    python(code, exported("tiny_semantic"), FOLDER / "coffee.png")
