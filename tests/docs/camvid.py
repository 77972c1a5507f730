"""Draw pictures with label maps, in the folders and of the classes of CamVid: `python -m tests.docs.camvid`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 12  # with the one that is ignored


def draw(folder: Path, count: int) -> None:
    """Write pictures of coloured squares, each class in its colour."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (CLASSES, 3), np.uint8)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        labels = np.kron(rng.integers(0, CLASSES, (6, 8), np.uint8), np.ones((60, 60), np.uint8))
        Image.fromarray(labels).save(folder / f"labels/{index}.png")
        Image.fromarray(colours[labels]).save(folder / f"images/{index}.jpg")


if __name__ == "__main__":
    draw(Path("camvid/train"), 8)
    draw(Path("camvid/val"), 2)
