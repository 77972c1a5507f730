"""Drawing an answer on its image, whoever gave the answer: the engine in this process or a server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.config.categories import Category
from model.masks import rle
from model.masks.overlay import Layer, draw, painted
from model.masks.palette import VOID, Colour, default_palette
from model.masks.paste import Crop
from model.predict.images import decode
from service.cli.legend import with_legend

_LISTS = ("segments", "instances", "features", "result")  # members of an answer that have what was found
Bitmap = NDArray[np.bool_]


@dataclass(frozen=True)
class Look:
    """What a model's answers leave unsaid of how they look."""

    task: str
    categories: tuple[Category, ...]
    palette: tuple[Colour, ...]  # of a semantic model, or empty


@dataclass(frozen=True)
class Overlays:
    """Draws answers into a file for each image. `targets`: by the image's path."""

    look: Look
    targets: Mapping[Path, Path]
    max_pixels: int

    def draw(self, image: Path, answer: bytes) -> None:
        """Draw an answer, given as the bytes of its file. Raises ImageError, OSError."""
        pixels = decode(image.read_bytes(), max_pixels=self.max_pixels).pixels
        drawn(pixels, answer, self.look).save(self.targets[image], quality=92)


def drawn(pixels: NDArray[np.uint8], answer: bytes, look: Look) -> Image.Image:
    """Return the RGB image [H, W, 3] with what an answer of any format says of it."""
    return _DRAW[look.task](pixels, answer, look)


def count(answer: bytes) -> int | None:
    """Return how many instances or segments an answer has; None if it is a picture or a text."""
    if not answer.startswith((b"{", b"[")):
        return None
    return len(_entries(json.loads(answer)))


def _entries(content: Any) -> Sequence[Any]:
    """Return the instances or segments of an answer in JSON."""
    if isinstance(content, list):  # formats coco and cvat
        return content
    found: Sequence[Any] = next(content[name] for name in _LISTS if name in content)
    return found


def _draw_instances(pixels: NDArray[np.uint8], answer: bytes, look: Look) -> Image.Image:
    height, width, _ = pixels.shape
    names = {category.id: category.name for category in look.categories}
    layers = [
        Layer(
            _cropped(_bitmap(entry["segmentation"], width, height)),
            f"{names.get(entry['category_id'], entry['category_id'])} {entry['score']:.2f}",
        )
        for entry in _entries(json.loads(answer))
    ]
    return draw(pixels, layers)


def _draw_label_map(pixels: NDArray[np.uint8], answer: bytes, look: Look) -> Image.Image:
    height, width, _ = pixels.shape
    labels = _labels(answer, look, width, height)
    palette = look.palette or default_palette(len(look.categories))
    seen = [int(label) for label in np.unique(labels) if label < len(palette)]
    legend = [(palette[label], look.categories[label].name) for label in seen]
    return with_legend(painted(pixels, labels, palette), legend)


def _labels(answer: bytes, look: Look, width: int, height: int) -> NDArray[np.uint8]:
    """Return the position of each pixel's class, [height, width]; VOID where there is none."""
    if count(answer) is None:
        with Image.open(io.BytesIO(answer)) as picture:
            return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST))
    labels = np.full((height, width), VOID, np.uint8)
    places = {category.id: place for place, category in enumerate(look.categories)}
    for entry in _entries(json.loads(answer)):
        labels[_bitmap(entry["segmentation"], width, height)] = places[entry["category_id"]]
    return labels


def _bitmap(segmentation: Any, width: int, height: int) -> Bitmap:
    """Return a mask [height, width], given as run lengths (a text or numbers) or as polygons along pixel edges."""
    if isinstance(segmentation, list):
        return _inside(segmentation, width, height)
    counts = segmentation["counts"]
    runs = rle.decompress(counts) if isinstance(counts, str) else np.array(counts, np.int64)
    return rle.decode(runs, width, height)


def _inside(polygons: Sequence[Sequence[float]], width: int, height: int) -> Bitmap:
    """Return the pixels from which an odd number of upright edges is to the left."""
    crossed = np.zeros((height, width + 1), np.uint8)
    for x, y0, y1 in _upright_edges(polygons):
        crossed[y0:y1, x] ^= 1
    inside: Bitmap = (np.cumsum(crossed[:, :width], axis=1) % 2).astype(bool)
    return inside


def _upright_edges(polygons: Sequence[Sequence[float]]) -> Iterator[tuple[int, int, int]]:
    for flat in polygons:
        points = np.rint(np.array(flat, np.float64)).astype(int).reshape(-1, 2)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if x0 == x1 and y0 != y1:
                yield int(x0), int(min(y0, y1)), int(max(y0, y1))


def _cropped(bitmap: Bitmap) -> Crop:
    rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
    if not rows.size:
        return Crop(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return Crop(left, top, bitmap[top : rows[-1] + 1, left : columns[-1] + 1].copy())


THINGS: Mapping[str, str] = {"instance": "instances", "semantic": "segments"}  # what is found, by task

_DRAW: Mapping[str, Callable[[NDArray[np.uint8], bytes, Look], Image.Image]] = {
    "instance": _draw_instances,
    "semantic": _draw_label_map,
}
