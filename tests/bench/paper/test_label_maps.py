"""The comparison of label maps with and without PointRend."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from bench.paper.base_points import at_points
from bench.paper.label_maps import compare, tables
from model.checkpoints.checkpoint import Checkpoint, save
from model.checkpoints.errors import CheckpointError
from model.config.semantic import SemanticConfig
from model.data.label_augment import LabelAugmentation
from model.data.label_maps import LabelMaps
from model.networks.semantic import SemanticNet
from model.training.recipe import SemanticRecipe
from tests.model import label_files, tiny_semantic


def saved(folder: Path, config: SemanticConfig, data: LabelMaps) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    network = SemanticNet(config)
    path = folder / "model.safetensors"
    save(path, Checkpoint(config, data.labelling.classes, network.state_dict()))
    return path


def test_every_variant_is_measured(tmp_path: Path) -> None:
    data = label_files.load(tmp_path / "data")
    plain = dataclasses.replace(tiny_semantic.DEEPLAB, point=None)
    files = [saved(tmp_path / name, c, data) for name, c in (("a", tiny_semantic.CONFIG), ("b", plain))]
    found = compare(files, data, ["preprocessing.short_edge=96"], limit=2)
    rows = {row["label"]: row for row in found["rows"]}
    assert list(rows) == [
        "SemanticFPN P2–P5 + PointRend",
        "SemanticFPN P2–P5 + PointRend, its base alone",
        "DeepLabV3 OS-16",
        "DeepLabV3 OS-8, dilated at inference",
    ]
    points = [row["cost"]["points"] for row in found["rows"]]
    assert points[0] > 0 and points[1:] == [0, 0, 0]
    assert set(found["checkpoints"]) == {"a", "b"} and found["images"] == 2
    text = tables(found, ["bar", "disc"])
    assert "| IoU / boundary IoU | bar | disc |" in text and text.count("DeepLabV3 OS-8") == 2


def test_the_point_head_against_its_base(tmp_path: Path) -> None:
    data = label_files.load(tmp_path)
    recipe = SemanticRecipe(augmentation=LabelAugmentation((32, 64)), points=32)
    network = tiny_semantic.network()
    opened = Checkpoint(network.config, data.labelling.classes, network.state_dict())
    found = at_points(opened, data, recipe, images=3)
    assert list(found) == ["base", "point head"]
    assert all(each["cross_entropy"] > 0 and 0 <= each["right"] <= 1 for each in found.values())
    alone = dataclasses.replace(tiny_semantic.CONFIG, point=None)
    opened = Checkpoint(alone, data.labelling.classes, SemanticNet(alone).state_dict())
    with pytest.raises(CheckpointError, match="no point head"):
        at_points(opened, data, recipe, images=1)
