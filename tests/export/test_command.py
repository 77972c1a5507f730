"""The command line: whose class names a bundle gets, what is printed, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from export.cli import app
from export.measurements import Measurements
from model.checkpoints.checkpoint import Checkpoint, save
from model.config.categories import CITYSCAPES, numbered
from model.config.presets import preset_categories
from model.errors import UserError
from model.networks.build import build_network
from tests.model import tiny
from tests.parity.goldens import FOLDER


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Checkpoint, Path, dict[str, Any]]]:
    """What would have been exported: the checkpoint, the folder, and the other arguments."""
    calls: list[tuple[Checkpoint, Path, dict[str, Any]]] = []

    def write_bundle(checkpoint: Checkpoint, out: Path, **others: Any) -> dict[str, Any]:
        calls.append((checkpoint, out, others))
        found = Measurements()
        found.compare("fine map", torch.ones(1), torch.ones(1))
        return found.report()

    monkeypatch.setattr("export.write.write_bundle", write_bundle)
    return calls


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_is_printed(written: list[Any], tmp_path: Path) -> None:
    file = FOLDER / "tiny_r50.pkl"
    output = run("--checkpoint", file, "--config", file.with_suffix(".yaml"), "--out", tmp_path / "bundle")
    assert "fine map" in output and f"{tmp_path / 'bundle'}: passed" in output
    ((checkpoint, out, others),) = written
    assert (out, others["name"], others["full_size"]) == (tmp_path / "bundle", "bundle", True)
    assert others["source"]["checkpoint"] == "tiny_r50.pkl" and len(others["source"]["sha256"]) == 64
    assert checkpoint.categories == numbered(5)


def test_classes_may_be_named(written: list[Any], tmp_path: Path) -> None:
    file = FOLDER / "tiny_r50.pkl"
    names = "--classes", "a, b,c,d,e"
    run("--checkpoint", file, "--config", file.with_suffix(".yaml"), "--out", tmp_path, "--quick", *names)
    ((checkpoint, _, others),) = written
    assert [category.name for category in checkpoint.categories] == list("abcde")
    assert others["full_size"] is False


def test_the_network_s_input_may_have_another_size(written: list[Any], tmp_path: Path) -> None:
    file = FOLDER / "tiny_r50.pkl"
    sizes = "--set", "preprocessing.short_edge=64", "--set", "preprocessing.long_edge=96"
    run("--checkpoint", file, "--config", file.with_suffix(".yaml"), "--out", tmp_path, *sizes)
    ((checkpoint, *_),) = written
    pixels = checkpoint.config.preprocessing
    assert (pixels.short_edge, pixels.long_edge) == (64, 96)
    changes = "preprocessing.short_edge=64 preprocessing.long_edge=96"
    assert written[0][2]["source"]["changes"] == changes


def test_a_native_checkpoint_keeps_its_own_classes(
    written: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preset says which network a .pkl or .pth file holds; it does not rename what names itself."""
    name, own = "pointrend_rcnn_r50_fpn_cityscapes", numbered(8)
    assert preset_categories(name) == CITYSCAPES
    config = dataclasses.replace(tiny.CONFIG, num_classes=8)
    monkeypatch.setattr("model.config.presets.PRESETS", {name: config})  # a smaller network of this name
    file = tmp_path / "own.safetensors"
    save(file, Checkpoint(config, own, dict(build_network(config).state_dict())))
    run("--checkpoint", file, "--preset", name, "--out", tmp_path / "out")
    ((checkpoint, *_),) = written
    assert checkpoint.categories == own


def test_a_bundle_of_another_checkpoint_is_refused_at_once(written: list[Any], tmp_path: Path) -> None:
    """Before the checkpoint is opened, and not after minutes of exporting."""
    (tmp_path / "bundle.json").write_text('{"source": {"checkpoint": "own.safetensors", "sha256": "1"}}')
    file = FOLDER / "tiny_r50.pkl"
    given = ("--checkpoint", file, "--config", file.with_suffix(".yaml"), "--out", tmp_path)
    with pytest.raises(UserError, match=r"of another checkpoint \(own\.safetensors\)"):
        run(*given)
    assert not written
    run(*given, "--replace")
    ((_, _, others),) = written
    assert others["replace"] is True


@pytest.mark.parametrize("classes", ["a,,b", "a,a", " ,"])
def test_empty_and_equal_class_names_are_refused(classes: str, written: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--classes needs different names that are not empty"):
        run("--checkpoint", FOLDER / "tiny_r50.pkl", "--out", tmp_path, "--classes", classes)


def test_a_preset_and_a_configuration_are_refused(written: list[Any], tmp_path: Path) -> None:
    file = FOLDER / "tiny_r50.pkl"
    with pytest.raises(UserError, match="give --preset or --config, not both"):
        run("--checkpoint", file, "--preset", "people", "--config", file, "--out", tmp_path)
    assert not written
