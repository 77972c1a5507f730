"""`python -m model train`: what it prints, and mistakes that end in one line; torchrun's processes."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from model import train as training
from model.checkpoint import open_checkpoint
from model.process import Process
from model.run_files import bare
from tests.model import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_data(tmp_path_factory.mktemp("discs") / "data")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run `python -m model` here; returns what it exits with."""
    monkeypatch.setattr(sys, "argv", ["model", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("model", run_name="__main__")
    return str(stopped.value.code)


def test_data_and_images_must_pair_up(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("train", "--data", file, "--data", file, "--images", file.parent, "--out", tmp_path / "out")
    assert command(monkeypatch, *arguments) == (
        "error: 2 --data but 1 --images: give one folder for each file"
    )
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
def test_mistakes_end_in_one_line(
    changes: dict[str, str], message: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"--data": str(file), "--images": str(file.parent), "--out": str(tmp_path / "out")} | changes
    found = command(monkeypatch, "train", *(part for pair in given.items() for part in pair))
    assert re.match(message, found) and "\n" not in found


def test_missing_pictures_are_listed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--data", file, "--images", tmp_path / "nowhere", "--out", tmp_path / "out")
    found = command(monkeypatch, "train", *arguments)
    assert found.startswith(f"error: {file}: ") and f"no file {tmp_path / 'nowhere' / '1.png'}" in found


@pytest.mark.parametrize("resumed", [False, True])
def test_a_random_trunk_that_is_frozen_gets_a_warning(
    resumed: bool,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(training, "train", lambda *_, **more: calls.append(more))
    arguments = ["--data", file, "--images", file.parent, "--out", tmp_path]
    if resumed:
        (tmp_path / "last.pt").touch()
        arguments.append("--resume")
    assert command(monkeypatch, "train", *arguments) == "0"
    assert calls[0]["resume"] is resumed
    said = capsys.readouterr().out.splitlines()
    assert len(said) == (0 if resumed else 1)
    assert resumed or said[0].startswith("warning: the trunk starts from random weights")


def test_the_group_is_joined_on_the_own_device_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: calls.append(f"device {index}"))
    monkeypatch.setattr(dist, "init_process_group", calls.append)
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
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    done = subprocess.run(
        [str(part) for part in (*launch, "-m", "model", "train", *arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "evaluate it with" in done.stdout and "destroy_process_group" not in done.stderr
    assert done.stdout.count("6 images with masks, 0 with boxes only") == 1
    assert torch.load(tmp_path / "out" / "last.pt", weights_only=True)["step"] == 2
    assert open_checkpoint(tmp_path / "out" / "model.safetensors").config.num_classes == 2


def test_a_checkpoint_does_not_tell_its_authors_folders() -> None:
    given = ["train", "--data", "/data/my.json", "--preset", "people", "--lr", "0.1", "--out", "runs/x"]
    assert bare(given) == "train --data my.json --preset people --lr 0.1 --out x"
