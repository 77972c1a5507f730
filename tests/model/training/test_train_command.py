"""`python -m model train`: what it prints, and mistakes that end in one line; torchrun's processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist

from model.checkpoints.checkpoint import open_checkpoint
from model.cli.train import strip_paths
from model.training import loop
from model.training.distributed import Process
from tests.model import label_files
from tests.model.command import run as command
from tests.paths import ROOT


def test_data_and_images_must_pair_up(file: Path, tmp_path: Path) -> None:
    arguments = ("train", "--data", file, "--data", file, "--images", file.parent, "--out", tmp_path / "out")
    found = command(*arguments).error
    assert found == "error: 2 --data but 1 --images: give one folder for each file"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--preset": "resnet"}, "error: no preset 'resnet'; there are: .*people"),
        ({"--data": "/nowhere.json"}, "error: .*nowhere.json"),
        ({"--start-from": "/nowhere.safetensors"}, "error: .*nowhere.safetensors"),
        ({"--start-from": "/nowhere.pkl"}, "error: .*nowhere.pkl"),
        ({"--backbone-weights": "/nowhere.pth"}, "error: .*nowhere.pth"),
        ({"--batch-size": "0"}, "error: batch_size must be at least 1, got 0"),
        ({"--steps": "0"}, "error: steps must be at least 1, got 0"),
        ({"--lr": "0"}, "error: lr must be a positive number, got 0"),
    ],
)
def test_mistakes_end_in_one_line(changes: dict[str, str], message: str, file: Path, tmp_path: Path) -> None:
    given = {"--data": str(file), "--images": str(file.parent), "--out": str(tmp_path / "out")} | changes
    found = command("train", *(part for pair in given.items() for part in pair)).error
    assert re.match(message, found)


def test_a_wrong_folder_is_named(file: Path, tmp_path: Path) -> None:
    arguments = ("--data", file, "--out", tmp_path / "out", "--images")
    found = command("train", *arguments, tmp_path / "nowhere").error
    assert found == f"error: {file}: its images are looked for in {tmp_path / 'nowhere'}, which is no folder"
    found = command("train", *arguments, tmp_path).error
    assert found == (
        f"error: {file}: none of its 6 images is in {tmp_path}; the first would be {tmp_path / '1.png'}"
    )


def test_validation_data_that_do_not_fit_are_refused_before_anything_starts(
    file: Path, tmp_path: Path
) -> None:
    arguments = ("train", "--data", file, "--images", file.parent, "--out", tmp_path / "out")
    found = command(*arguments, "--val-data", file).error
    assert found == "error: give --val-data and --val-images, or neither"
    content = json.loads(file.read_text())
    content["categories"][1]["name"] = "light"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    found = command(*arguments, "--val-data", other, "--val-images", file.parent).error
    assert found == (
        f"error: {other}: other categories than the training data: it lacks bright, it has besides light"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (True, "stopped: the same command with --resume goes on from the last state stored in {out}"),
        (False, "stopped before anything was stored: the same command starts anew"),
    ],
)
def test_ctrl_c_ends_in_one_line(
    stored: bool,
    says: str,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        if stored:
            (tmp_path / "last.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    arguments = ("--data", file, "--images", file.parent, "--out", tmp_path)
    ended = command("train", *arguments)
    assert ended.code == 130 and ended.out.splitlines()[-1] == says.format(out=tmp_path)


class Trained(NamedTuple):
    """What the command handed to the loop."""

    task: Any
    options: dict[str, Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    """The runs that were asked for; none is made, each "writes" the checkpoint of its folder."""
    found: list[Trained] = []

    def train(task: Any, out: Path, **options: Any) -> Path:
        found.append(Trained(task, options))
        return out / "model.safetensors"

    monkeypatch.setattr(loop, "train", train)
    return found


def test_it_ends_with_the_next_commands(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Trained]
) -> None:
    path = tmp_path / "my run" / "model.safetensors"
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "model"])
    arguments = ["train", "--data", file, "--images", file.parent, "--out", path.parent]
    measured = ["--val-data", file, "--val-images", file.parent, "--validate-every", "7"]
    for more, data, images in ((measured, file, file.parent), ([], "…", "…")):
        ended = command(*arguments, *more)
        assert ended.code == 0
        assert ended.out.splitlines()[1:] == [
            f"{path} is the result. Next:",
            f"  python3 -m model evaluate --checkpoint '{path}' --data {data} --images {images}",
            f"  python3 -m export --checkpoint '{path}' --out 'bundles/my run'",
            "  python3 -m service serve --bundle 'bundles/my run'",
        ]
    assert calls[0].task.validation.annotations == file and calls[0].options["validate_every"] == 7
    assert calls[1].task.validation is calls[1].options["validate_every"] is None


@pytest.mark.parametrize("resumed", [False, True])
def test_a_random_trunk_that_is_frozen_gets_a_warning(
    resumed: bool, file: Path, tmp_path: Path, calls: list[Trained]
) -> None:
    arguments = ["--data", file, "--images", file.parent, "--out", tmp_path]
    if resumed:
        (tmp_path / "last.pt").touch()
        arguments.append("--resume")
    ended = command("train", *arguments)
    assert ended.code == 0 and calls[0].options["resume"] is resumed
    assert ("warning: the trunk starts from random weights" in ended.out) is not resumed


def test_a_bug_is_not_called_a_mistake(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("shapes differ")

    monkeypatch.setattr(loop, "train", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = command("train", "--data", file, "--images", file.parent, "--out", tmp_path).failure
    assert said.startswith("internal error: ValueError: shapes differ") and str(tmp_path) in said


def test_the_preset_decides_the_task(tmp_path: Path, calls: list[Trained]) -> None:
    folder = tmp_path / "data"
    given = ("--data", label_files.write(folder), "--images", folder)
    asked = ("--preset", "street_fpn", "--set", "network.base.channels=32", "--out", tmp_path / "run")
    assert command("train", *given, *asked, "--val-images", folder).code == 0
    task = calls[0].task
    assert len(task.validation.pairs) == 4 and task.validation_file == folder / "data.json"
    assert task.network.config.base.channels == 32 and task.network.config.num_classes == 3
    found = command("train", *given, *asked, "--val-data", folder / "data.json").error
    assert found == "error: --val-data needs --val-images"


def test_the_group_is_joined_on_the_own_device_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: calls.append(f"device {index}"))
    monkeypatch.setattr(dist, "init_process_group", lambda kind, timeout: calls.append(kind))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("left"))
    with pytest.raises(KeyError), Process.join() as process:
        assert process == Process(1, 2) and process.device() == torch.device("cuda", 1)
        raise KeyError
    assert calls == ["device 1", "nccl", "left"]


def test_one_process_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    Process(1, 2).say("one")
    Process(0, 2).say("other")
    assert capsys.readouterr().out == "other\n"


@pytest.mark.slow
def test_two_processes_train_together(file: Path, tmp_path: Path) -> None:
    """Two gloo processes, two steps of the people preset."""
    arguments = ["--data", file, "--images", file.parent, "--out", tmp_path / "out", "--steps", 2]
    arguments += ["--batch-size", 2, "--workers", 0, "--preset", "people"]
    arguments += ["--val-data", file, "--val-images", file.parent, "--validate-every", 1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    done = subprocess.run(
        [str(part) for part in (*launch, "-m", "model", "train", *arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "is the result. Next:" in done.stdout and "destroy_process_group" not in done.stderr
    assert re.findall(r"^step (\d), epoch 0.\d: box AP", done.stdout, re.MULTILINE) == ["1", "2"]
    assert done.stdout.count("6 images with masks, 0 with boxes only") == 1
    assert torch.load(tmp_path / "out" / "last.pt", weights_only=True)["step"] == 2
    assert open_checkpoint(tmp_path / "out" / "model.safetensors").config.num_classes == 2


def test_a_checkpoint_does_not_tell_its_authors_folders() -> None:
    given = ["train", "--data", "/data/my.json", "--images=/data/my", "--set", "lr=0.1", "--out", "runs/x"]
    assert strip_paths(given) == "train --data my.json --images=my --set lr=0.1 --out x"
