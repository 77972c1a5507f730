"""Recorded outputs of the reference implementation, and how far from them a result may be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.checkpoints.checkpoint import AnyCheckpoint, Checkpoint, SemanticCheckpoint, open_any
from model.checkpoints.detectron2.config import any_config_from_yaml

FOLDER = Path(__file__).parents[1] / "golden"
POINTREND = ("tiny_r50_astronaut", "tiny_r50_coffee", "tiny_x101_coffee")
ALL = (*POINTREND, "tiny_conv_coffee")
SEMANTIC = "tiny_semantic_coffee"


@dataclass(frozen=True)
class Golden:
    """One recorded run: arrays by name, the JSON beside them, and the picture as RGB."""

    name: str
    arrays: dict[str, NDArray[Any]]
    record: dict[str, Any]
    image: NDArray[np.uint8]

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    @property
    def checkpoint(self) -> Checkpoint:
        return load_checkpoint(self.name.rsplit("_", 1)[0])

    @property
    def semantic(self) -> SemanticCheckpoint:
        opened = load_any(self.name.rsplit("_", 1)[0])
        assert isinstance(opened, SemanticCheckpoint)
        return opened


@cache
def load(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    path = FOLDER / f"{name}.json"
    record = json.loads(path.read_text()) if path.is_file() else {"image": f"{name.rsplit('_', 1)[-1]}.png"}
    with Image.open(FOLDER / record["image"]) as picture:
        image = np.asarray(picture.convert("RGB"))
    return Golden(name, arrays, record, image)


@cache
def load_any(name: str) -> AnyCheckpoint:
    return open_any(FOLDER / f"{name}.pkl", any_config_from_yaml(FOLDER / f"{name}.yaml"))


def load_checkpoint(name: str) -> Checkpoint:
    opened = load_any(name)
    assert isinstance(opened, Checkpoint)
    return opened


@cache
def units() -> dict[str, torch.Tensor]:
    with np.load(FOLDER / "units.npz") as file:
        return {key: torch.from_numpy(value) for key, value in file.items()}


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Max abs difference over the max abs value of the expected tensor."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())
