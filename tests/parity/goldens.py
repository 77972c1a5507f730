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

from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.checkpoints.detectron2.config import config_from_yaml
from model.config.instance import MaskRCNNConfig

FOLDER = Path(__file__).parents[1] / "golden"
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
    def model(self) -> str:
        """The name of the model that was recorded."""
        return self.name.rsplit("_", 1)[0]

    @property
    def network_input(self) -> torch.Tensor:
        """The recorded input: [3, h, w] RGB, before normalisation."""
        return torch.from_numpy(self.arrays["resized_bgr"][:, :, ::-1].copy()).permute(2, 0, 1)


@cache
def load(name: str) -> Golden:
    """Return the recorded run of this name: a model's and a picture's, joined by "_"."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    path = FOLDER / f"{name}.json"
    record = json.loads(path.read_text()) if path.is_file() else {"image": f"{name.rsplit('_', 1)[-1]}.png"}
    with Image.open(FOLDER / record["image"]) as picture:
        image = np.asarray(picture.convert("RGB"))
    return Golden(name, arrays, record, image)


@cache
def load_any(name: str) -> Checkpoint:
    """Return the model of this name, of either task."""
    return open_checkpoint(FOLDER / f"{name}.pkl", config_from_yaml(FOLDER / f"{name}.yaml"))


def load_checkpoint(name: str) -> Checkpoint[MaskRCNNConfig]:
    """Return the Mask R-CNN of this name."""
    return of_task(load_any(name), "instance")


@cache
def units() -> dict[str, torch.Tensor]:
    with np.load(FOLDER / "units.npz") as file:
        return {key: torch.from_numpy(value) for key, value in file.items()}


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest absolute difference over the largest absolute value of the expected tensor."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())
