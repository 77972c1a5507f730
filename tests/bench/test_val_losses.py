"""Validation losses: what is compared, and that a checkpoint is no better than itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bench.val_losses import image_losses, main, table
from model.checkpoint import Checkpoint, save
from model.coco import CocoDataset, load_coco
from model.train import train
from tests.model import tiny


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_data(tmp_path_factory.mktemp("discs") / "data")


def checkpoint(data: CocoDataset, folder: Path, *, steps: int) -> Checkpoint:
    network = tiny.network()
    if steps:
        plan = dataclasses.replace(tiny.RECIPE, steps=steps)
        assert train(network, [data], plan, folder, workers=0)
    return Checkpoint(network.config, data.categories, dict(network.state_dict()))


def test_training_lowers_them_and_draws_are_the_same(file: Path, tmp_path: Path) -> None:
    data = load_coco(file, file.parent)
    before, after = (checkpoint(data, tmp_path / str(steps), steps=steps) for steps in (0, 12))
    first, again, trained = (image_losses(c, data, tiny.SAMPLING) for c in (before, before, after))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    names = {"rpn_objectness", "rpn_box", "box_class", "box_regression", "mask_coarse", "mask_point"}
    assert set(first) == names | {"boxes", "masks"} and len(first["boxes"]) == 6
    np.testing.assert_allclose(first["masks"], first["mask_coarse"] + first["mask_point"])
    assert trained["boxes"].mean() + trained["masks"].mean() < first["boxes"].mean() + first["masks"].mean()


def test_differences_are_paired() -> None:
    one = {"boxes": np.array([1.0, 5.0, 9.0])}
    other = {"boxes": one["boxes"] + np.array([0.1, 0.2, 0.3])}
    lines = table({"a": one, "b": other}, ["boxes"]).splitlines()
    assert lines[2] == "| a | 5.0000 |"
    assert lines[3] == "| b | 5.2000 (+0.2000 ± 0.0577) |"


def test_the_command(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    save(path, checkpoint(load_coco(file, file.parent), tmp_path, steps=0))
    main([path], file, file.parent, every=True)
    assert "| mask_point | boxes | masks |" in capsys.readouterr().out
