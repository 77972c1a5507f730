"""A small COCO-format data set for trying the training out: stars, gears and combs, with fine detail and known masks.

python examples/make_shapes.py --out out/shapes      → train.json, val.json and images/*.jpg

Each shape is drawn at four times the size and averaged down, so edges are smooth. Its mask is where it covers at
least half of a pixel and nothing drawn later does. The same options give the same files.
"""

from __future__ import annotations

import argparse
import colorsys
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as rle_codec

CLASSES = ("star", "gear", "comb")
SCALE = 4  # how much larger shapes are drawn
LEAST_SEEN = 0.3  # a shape of which less than this share stays visible is not annotated

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]  # [H,W]


def star(rng: np.random.Generator) -> list[Floats]:
    """Return thin spikes around a small body: rings [P,2] within about -1 … 1, a second one is a hole."""
    spikes = int(rng.integers(5, 10))
    radii = np.tile([1.0, rng.uniform(0.25, 0.4)], spikes)
    return [_polar(radii, np.arange(2 * spikes) * np.pi / spikes)]


def gear(rng: np.random.Generator) -> list[Floats]:
    """Return teeth around a disc with a hole."""
    teeth, root = int(rng.integers(8, 17)), rng.uniform(0.72, 0.85)
    steps = (np.arange(teeth)[:, None] + np.array([0.0, 0.08, 0.42, 0.5])) * 2 * np.pi / teeth
    hole = _polar(np.full(60, rng.uniform(0.25, 0.5)), np.linspace(0, 2 * np.pi, 60, endpoint=False))
    return [_polar(np.tile([root, 1.0, 1.0, root], teeth), steps.ravel()), hole]


def comb(rng: np.random.Generator) -> list[Floats]:
    """Return a bar with thin teeth on one side."""
    teeth, height, back = int(rng.integers(6, 14)), rng.uniform(0.4, 0.7), rng.uniform(0.12, 0.2)
    left = np.linspace(-1, 1, teeth, endpoint=False)
    width = 2 / teeth * rng.uniform(0.4, 0.6)
    right_end = left[-1] + width
    tooth = [(x, y) for a in left for x, y in ((a, 0), (a, height), (a + width, height), (a + width, 0))]
    points = [*tooth, (right_end, -back), (-1, -back)]
    return [np.array(points) - [(right_end - 1) / 2, (height - back) / 2]]


def _polar(radii: Floats, angles: Floats) -> Floats:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def coverage(rings: list[Floats], size: int) -> Floats:
    """Return how much of each pixel the rings (in pixels) cover: [H,W], 0 to 1."""
    canvas = Image.new("L", (size * SCALE, size * SCALE))
    pen = ImageDraw.Draw(canvas)
    for ring, fill in zip(rings, (255, 0), strict=False):
        pen.polygon([tuple(point) for point in ring * SCALE - 0.5], fill=fill)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX)) / 255.0


def placed(rings: list[Floats], size: int, rng: np.random.Generator) -> list[Floats]:
    """Return the rings turned, scaled and moved to somewhere in the picture, perhaps partly outside."""
    angle, radius = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.1, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = rng.uniform(0.1, 0.9, 2) * size
    return [ring @ turn * radius + centre for ring in rings]


def texture(size: int, rng: np.random.Generator) -> Floats:
    """Return noise of several sizes on top of each other: [H,W], about 0 to 1."""
    total = np.zeros((size, size))
    for cells, weight in ((3, 0.4), (12, 0.25), (50, 0.2), (size, 0.15)):
        noise = Image.fromarray(rng.random((cells, cells), np.float32))
        total += weight * np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC))
    return total


def coloured(size: int, rng: np.random.Generator) -> Floats:
    """Return a texture between two random colours: [H,W,3], 0 to 255."""
    colours = [colorsys.hsv_to_rgb(rng.random(), *rng.uniform((0.2, 0.3), (0.9, 1.0))) for _ in range(2)]
    dark, light = np.array(colours) * 255
    mixed: Floats = dark + (light - dark) * texture(size, rng)[..., None]
    return mixed


def picture(size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, Mask]]]:
    """Return pixels [H,W,3] and, from the lowest shape up, each class's index and what is visible."""
    pixels = coloured(size, rng)
    shapes: list[tuple[int, Mask, int]] = []  # class, visible part, pixels in all
    for kind in rng.integers(0, len(CLASSES), rng.integers(2, 6)).tolist():
        cover = coverage(placed((star, gear, comb)[kind](rng), size, rng), size)
        pixels += (coloured(size, rng) - pixels) * cover[..., None]
        mask = cover >= 0.5
        shapes = [*((k, below & ~mask, area) for k, below, area in shapes), (kind, mask, int(mask.sum()))]
    seen = [(k, mask) for k, mask, area in shapes if mask.sum() > max(30, LEAST_SEEN * area)]
    return pixels.clip(0, 255).astype(np.uint8), seen


def annotation(mask: Mask) -> dict[str, Any]:
    rle = rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "bbox": rle_codec.toBbox(rle).tolist(),
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
    }


def write(out: Path, split: str, count: int, size: int, seed: int) -> None:
    """Write `out`/{split}.json and its pictures."""
    data: dict[str, list[Any]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)],
    }
    for i in range(1, count + 1):
        pixels, shapes = picture(size, np.random.default_rng((seed, split == "val", i)))
        name = f"{split}_{i:05}.jpg"
        Image.fromarray(pixels).save(out / "images" / name, quality=95)
        data["images"].append({"id": i, "file_name": name, "width": size, "height": size})
        for kind, mask in shapes:
            ids = {"id": len(data["annotations"]) + 1, "image_id": i, "category_id": kind + 1}
            data["annotations"].append(ids | annotation(mask))
    (out / f"{split}.json").write_text(json.dumps(data))
    print(f"{out / split}.json: {count} images, {len(data['annotations'])} shapes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    for name, default in {"train": 200, "val": 40, "size": 320, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    (given.out / "images").mkdir(parents=True, exist_ok=True)
    write(given.out, "train", given.train, given.size, given.seed)
    write(given.out, "val", given.val, given.size, given.seed)


if __name__ == "__main__":
    main()
