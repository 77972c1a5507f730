"""Opening checkpoints with a preset or the reference's config.yaml, as the command lines do."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints.checkpoint import Checkpoint, save
from model.checkpoints.opening import open_named
from model.checkpoints.shapes import network_shapes
from model.config import presets
from model.config.categories import CITYSCAPES, CITYSCAPES_LABELS, Category, numbered
from model.config.network import NetworkConfig
from tests.model import tiny, tiny_semantic
from tests.paths import GOLDEN

NAMES = {"instance": "tiny_cityscapes", "semantic": "tiny_semantic_cityscapes"}
SMALL: dict[str, NetworkConfig] = {"instance": tiny.CONFIG, "semantic": tiny_semantic.CONFIG}


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", {NAMES[task]: config for task, config in SMALL.items()})


def native(path: Path, config: NetworkConfig, categories: tuple[Category, ...]) -> Path:
    tensors = {name: torch.zeros(shape) for name, shape in network_shapes(config).items()}
    save(path, Checkpoint(config, categories, tensors))
    return path


@pytest.mark.parametrize("task", SMALL)
def test_native_checkpoints_keep_their_class_names_under_a_cityscapes_preset(
    tmp_path: Path, task: str
) -> None:
    config = SMALL[task]
    names = tuple(Category(i, f"own_{i}") for i in range(config.num_classes))
    path = native(tmp_path / "c.safetensors", config, names)
    assert open_named(path, NAMES[task]).categories == names
    assert open_named(path).categories == names
    other = numbered(config.num_classes)
    assert open_named(path, NAMES[task], categories=other).categories == other


@pytest.mark.parametrize(
    ("preset", "file", "expected"),
    [
        ("pointrend_rcnn_r50_fpn_cityscapes", "pointrend_r50_fpn_cityscapes", CITYSCAPES),
        ("semantic_fpn_r101_cityscapes", "pointrend_semantic_r101_fpn", CITYSCAPES_LABELS),
    ],
)
def test_imported_files_have_the_class_names_of_their_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str, file: str, expected: tuple[Category, ...]
) -> None:
    monkeypatch.undo()
    arrays = {}
    for line in (GOLDEN / f"published_{file}_names.txt").read_text().splitlines():
        key, shape, dtype = line.split("\t")
        arrays[key] = np.zeros([int(side) for side in shape.split("x")], dtype)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": arrays}))
    opened = open_named(path, preset)
    path.unlink()  # hundreds of megabytes, which pytest would keep
    assert opened.categories == expected and opened.config == presets.preset(preset)


def test_a_configuration_file_says_what_an_imported_file_is() -> None:
    opened = open_named(GOLDEN / "tiny_semantic.pkl", config=GOLDEN / "tiny_semantic.yaml")
    assert opened.config.task == "semantic" and opened.categories == numbered(opened.config.num_classes)
    with pytest.raises(ValueError, match="give --preset or --config, not both"):
        open_named(GOLDEN / "tiny_r50.pkl", NAMES["instance"], GOLDEN / "tiny_r50.yaml")
    with pytest.raises(ValueError, match="no preset 'x'; there are: tiny_cityscapes"):
        open_named(GOLDEN / "tiny_r50.pkl", "x")
