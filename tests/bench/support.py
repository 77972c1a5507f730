"""A tiny checkpoint with pictures, and heads over it, for the tests of bench/paper."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.paper.heads.detector import Detector
from bench.paper.heads.files import Origin, write_heads
from bench.paper.heads.variants import Head, build_all
from model.checkpoints.checkpoint import Checkpoint, save
from model.config.categories import Category
from model.config.instance import BoxHeadConfig
from model.data.coco import CocoDataset, load_coco
from tests.model import tiny

CONFIG = dataclasses.replace(tiny.CONFIG, box=BoxHeadConfig(fc_dim=32, max_detections=4))
CATEGORIES = (Category(1, "dark"), Category(2, "bright"))


class Scene(NamedTuple):
    checkpoint: Path
    data: Path  # its pictures lie beside it
    detector: Detector
    dataset: CocoDataset


def scene(folder: Path, pictures: int = 3) -> Scene:
    """Random weights; every box scores about alike, so that there are always detections."""
    checkpoint = folder / "tiny.safetensors"
    save(checkpoint, Checkpoint(CONFIG, CATEGORIES, tiny.network(CONFIG).state_dict()))
    data = tiny.write_data(folder / "data", pictures)
    return Scene(checkpoint, data, Detector.open(checkpoint), load_coco(data, data.parent))


def heads(seed: int = 0) -> dict[str, Head]:
    """Untrained, for evaluation; larger last weights, so that masks have contours."""
    built = build_all(CONFIG, seed)
    for head in built.values():
        head.eval().requires_grad_(False)
        for name, parameter in head.named_parameters():
            if name.endswith(("prediction.weight", "predictor.weight")):
                parameter.mul_(300)
    return built


def write(scene: Scene, path: Path) -> Path:
    """Those heads as a file."""
    write_heads(path, heads(), Origin(scene.detector.sha256, tiny.RECIPE))
    return path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run `python -m bench.paper` in this process. Return its exit code if that is 0, else what it says on stderr."""
    monkeypatch.delitem(
        sys.modules, "bench.paper.__main__", raising=False
    )  # another test may have imported it
    monkeypatch.setattr(sys, "argv", ["bench.paper", *map(str, arguments)])
    said = io.StringIO()
    with pytest.raises(SystemExit) as stopped, contextlib.redirect_stderr(said):
        runpy.run_module("bench.paper", run_name="__main__")
    return "0" if stopped.value.code == 0 else said.getvalue().rstrip("\n")
