"""Tiny sets of label maps for the tests of their reading, training and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data.label_maps import LabelMaps, load_label_maps

CLASSES = [{"id": 4, "name": "ground"}, {"id": 0, "name": "disc"}, {"id": 2, "name": "bar"}]
DATA = {"classes": CLASSES, "ignore": [9]}


def write(folder: Path, data: Any = DATA, count: int = 4, size: tuple[int, int] = (64, 96)) -> Path:
    """Write `count` pictures (height, width) of a bright disc and a dark bar; a stripe at the right is ignored."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    for index in range(count):
        pixels, labels = rng.normal(128, 8, (height, width, 3)), np.full(size, 4, np.uint8)
        disc = (x - rng.uniform(20, 60)) ** 2 + (y - rng.uniform(20, 40)) ** 2 < 150
        bar = abs(x - rng.uniform(20, 60)) < 3
        for mask, shade, label in ((disc, 240, 0), (bar, 20, 2), (x >= width - 4, 128, 9)):
            pixels[mask], labels[mask] = shade, label
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"images/{index}.png")
        Image.fromarray(labels).save(folder / f"labels/{index}.png")
    file = folder / "data.json"
    file.write_text(json.dumps(data))
    return file


def load(folder: Path) -> LabelMaps:
    """Write a data set and load it."""
    file = write(folder)
    return load_label_maps(file, folder)
