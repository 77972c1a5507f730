"""Nothing stubbed: an exported bundle, a server in a process of its own, a picture through its socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from export.bundle import open_bundle
from export.execution import Execution
from model.masks import rle
from model.predict.instance import InstanceOptions
from service.cli import demo
from tests.parity.goldens import FOLDER, load


def test_demo(exported: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = exported("tiny_r50")
    demo.run([bundle], FOLDER / "coffee.png", tmp_path, score=0.05)
    answered = json.loads((tmp_path / "masks.json").read_text())
    predictor: Any = open_bundle(bundle, Execution(threads=1)).predictor
    masks = predictor(load("tiny_r50_coffee").image, InstanceOptions(score=0.05)).finish().masks
    assert len(masks) == len(answered["instances"]) > 0
    for mask, instance in zip(masks, answered["instances"], strict=True):
        assert instance["score"] == pytest.approx(mask.score, abs=1e-4)
        width, height = answered["width"], answered["height"]
        own = rle.decode(rle.encode(mask.crop(width, height), width, height), width, height)
        served = rle.decode(rle.decompress(instance["segmentation"]["counts"]), width, height)
        assert (own != served).sum() <= max(4, 0.01 * own.sum())
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.size == (answered["width"], answered["height"])
    assert "milliseconds: decode" in capsys.readouterr().out
