"""Validation losses: what is compared, and that a checkpoint is no better than itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy.val_losses import image_losses, main, table
from model.checkpoints.checkpoint import Checkpoint, save
from model.data.coco import CocoDataset, load_coco
from model.training.instance import InstanceTraining
from model.training.loop import train
from tests.model import tiny


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_data(tmp_path_factory.mktemp("discs") / "data")


def checkpoint(data: CocoDataset, folder: Path, *, steps: int) -> Checkpoint:
    network = tiny.network()
    if steps:
        plan = dataclasses.replace(tiny.RECIPE, steps=steps)
        assert train(InstanceTraining(network, [data], plan), folder, workers=0)
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
    """Where there was nothing to measure, nothing counts."""
    one = {"boxes": np.array([1.0, 5.0, 9.0, np.nan])}
    other = {"boxes": one["boxes"] + np.array([0.1, 0.2, 0.3, 0.4])}
    lines = table({"a": one, "b": other}, ["boxes"]).splitlines()
    assert lines[2] == "| a | 5.0000 |"
    assert lines[3] == "| b | 5.2000 (+0.2000 ± 0.0577) |"


def test_the_command(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load_coco(file, file.parent)
    given = checkpoint(data, tmp_path, steps=0)
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path in paths:
        save(path, given)
    main(paths, file, file.parent, every=True)
    out = capsys.readouterr().out
    assert "| mask_point_dice | boxes | masks |" in out and out.count("(+0.0000 ± 0.0000)") == 10
    other = dataclasses.replace(given, categories=given.categories[::-1])
    save(paths[1], other)
    with pytest.raises(ValueError, match="its classes are not the data's"):
        main(paths, file, file.parent)
