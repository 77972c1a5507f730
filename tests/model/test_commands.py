"""How `python -m model` begins and ends, whatever the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.checkpoints.checkpoint import Checkpoint, save
from model.config.categories import Category
from model.training.errors import LossNotFinite
from tests.model import tiny
from tests.model.command import run
from tests.paths import ROOT

CLASSES = (Category(1, "dark"), Category(2, "bright"))


@pytest.mark.parametrize(("imported", "code"), [("typer", -2), ("torch", 130)])
def test_ctrl_c_while_packages_are_imported_leaves_no_traceback(
    imported: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / f"{imported}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ended = subprocess.run(
        [sys.executable, "-m", "model", "evaluate", "--data", "a.json", "--checkpoint", "b.safetensors"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return tiny.write_data(tmp_path / "data", 2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    net = tiny.network()
    save(tmp_path / "model.safetensors", Checkpoint(net.config, CLASSES, net.state_dict()))
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "label"])
def test_where_the_result_goes_is_checked_first(command: str, pictures: Path, tmp_path: Path) -> None:
    """Nothing is read before: neither the data nor the checkpoint are there."""
    taken = tmp_path / "taken"
    taken.touch()
    given = (command, "--data", "no.json", "--checkpoint", "no.safetensors", "--images", tmp_path, "--out")
    assert run(*given, tmp_path).error == (
        f"error: --out {tmp_path} cannot be written: it must name a file, in a folder that you may write to"
    )
    found = run(*given, taken / "a" / "b.json").error
    assert found == f"error: --out {taken / 'a' / 'b.json'} cannot be written: not a directory"
    found = run("train", "--data", "no.json", "--images", tmp_path, "--out", taken / "run").error
    assert (
        found
        == f"error: --out {taken / 'run'} cannot be written: {taken} is not a folder that you may write to"
    )


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "label"])
def test_data_are_used_with_a_warning_about_what_is_left_out(
    command: str, pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    content = json.loads(pictures.read_text())
    content["annotations"][0]["segmentation"] += [[], [1, 2, 3, 4]]
    content["categories"].append({"id": 0, "name": "bright"})
    pictures.write_text(json.dumps(content))
    out = tmp_path / "new" / "out.json"
    ended = run(
        command, "--data", pictures, "--images", pictures.parent, "--checkpoint", checkpoint, "--out", out
    )
    warnings = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        f"warning: {pictures.name}: category 0 bright is left out: nothing uses it, and 2 has the same name",
        f"warning: {pictures.name}: 2 polygons of fewer than 3 points are left out, of annotation 1",
    ]
    assert "measured are only" not in ended.err


def test_exit_codes_tell_wrong_use_from_failure(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (["bogus"], ["train"], ["evaluate", "--limit", "0"], ["evaluate", "--data", "no.json"]):
        assert run(*wrong).code == 2

    def failing(*_: object, **__: object) -> None:
        raise LossNotFinite("the loss is not finite at step 3")

    monkeypatch.setattr("model.training.loop.train", failing)
    given = ("train", "--data", pictures, "--images", pictures.parent, "--out", tmp_path / "run")
    assert run(*given).failure == "error: the loss is not finite at step 3"


def test_masks_are_found_for_annotations_whose_ids_are_text(
    pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    content = json.loads(pictures.read_text())
    for entry in content["annotations"]:
        entry |= {"id": str(entry["id"]), "segmentation": None}
    pictures.write_text(json.dumps(content))
    out = tmp_path / "labelled.json"
    given = ("--data", pictures, "--images", pictures.parent, "--checkpoint", checkpoint, "--out", out)
    ended = run("label", *given, "--certainty", "0", "--least-side", "0")
    assert ended.code == 0
    masks = [entry["segmentation"] for entry in json.loads(out.read_text())["annotations"]]
    assert f"masks for {sum(mask is not None for mask in masks)} of 4 boxes" in ended.out
    assert any(masks)
