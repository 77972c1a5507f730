"""`python -m bench.paper`: all commands in turn, and mistakes that end in one line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from bench.paper import adaptive_tasks
from tests.bench import support
from tests.bench.support import Scene, command


def test_train_measure_and_draw(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adaptive_tasks, "MaskCurve", partial(adaptive_tasks.MaskCurve, sides=(28, 56)))
    of = ("--checkpoint", scene.checkpoint)
    data = ("--data", scene.data, "--images", scene.data.parent)
    small = ("--set", "augmentation.short_edges=[64]", "--set", "sampling.points=16", "--workers", 0)
    run = ("--steps", 2, "--batch-size", 2, "--out", tmp_path / "run", *small)
    assert command(monkeypatch, "train", *of, *data, *run) == "0"
    heads = ("--heads", tmp_path / "run/heads.safetensors")
    measured, agreed = tmp_path / "new/heads.json", tmp_path / "new/adaptive.json"
    assert command(monkeypatch, "measure", *of, *heads, *data, "--limit", 1, "--out", measured) == "0"
    quick = ("--every", 3, "--score", 0.05, "--out", agreed)
    assert command(monkeypatch, "adaptive", *of, *data, *quick) == "0"
    figures = ("--heads", measured, "--adaptive", agreed, "--out", tmp_path / "figures")
    assert command(monkeypatch, "plot", *figures) == "0"
    picture = ("--picture", scene.data.parent / "2.png", "--score", 0.05)
    assert command(monkeypatch, "crops", *of, *heads, *picture, "--out", tmp_path / "crops.png") == "0"
    found = json.loads(measured.read_text())
    assert found["checkpoint_sha256"] == scene.detector.sha256 and found["images"] == 1
    assert len(list((tmp_path / "figures").glob("*.png"))) == 3 and (tmp_path / "crops.png").exists()
    printed = capsys.readouterr().out
    assert "| PointRend, biased (k=3, β=0.75) | native |" in printed and "| 56 | auto |" in printed


def test_mistakes_end_in_one_line(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ("--data", scene.data, "--images", scene.data.parent)
    heads = support.write(scene, tmp_path / "heads.safetensors")
    nowhere = tmp_path / "nowhere.safetensors"
    for arguments, message in (
        (("train", *data, "--data", scene.data), "2 --data but 1 --images"),
        (("train", *data, "--preset", "people", "--set", "stepz=1"), "there is no 'stepz'"),
        (("train", *data, "--steps", 0), "steps must be at least 1"),
        (("train", *data, "--checkpoint", nowhere), "there is no checkpoint file"),
        (("measure", *data, "--heads", nowhere), "there is no file"),
        (("crops", "--heads", heads, "--picture", "x.png@1"), "expected picture@x0,y0,x1,y1"),
        (("crops", "--heads", heads, "--picture", tmp_path / "x.png"), "x.png"),
    ):
        given = () if "--checkpoint" in arguments else ("--checkpoint", scene.checkpoint)
        found = command(monkeypatch, *arguments, *given)
        assert found.startswith("error: ") and message in found and "\n" not in found
    assert "cannot be read as JSON" in command(monkeypatch, "plot", "--heads", heads)


def test_another_data_sets_classes_are_refused(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = json.loads(scene.data.read_text())
    other["categories"][0]["name"] = "dusky"
    file = tmp_path / "other.json"
    file.write_text(json.dumps(other))
    found = command(
        monkeypatch, "train", "--checkpoint", scene.checkpoint, "--data", file, "--images", scene.data.parent
    )
    assert found == "error: the checkpoint's classes (dark, bright) are not the data's (dusky, bright)"
