"""From images to label maps: prepare → coarse pass → render → labels at any size, and a mask of each class.

The same steps serve the eager network (model/checkpoints/eager.py) and an exported bundle; only the coarse pass
differs. Like model/predict/instance.py, this imports no network and no training package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.categories import Category
from model.config.instance import Preprocessing
from model.masks import rle
from model.masks.palette import VOID, Colour
from model.pointrend.label_map import LabelMapRender, render
from model.pointrend.label_map_level import Size
from model.pointrend.point_head import PointHead
from model.pointrend.render import FineMap
from model.predict.instance import Prepared
from model.predict.preprocess import network_input, resize
from model.predict.semantic_coarse import LabelMapCoarse

MAX_CELLS = 4096 * 8192
MAX_POINTS = 2**20  # per level
_NUMBER = re.compile("[0-9]{1,7}")


@dataclass(frozen=True)
class LabelMapOptions:
    """What a request may choose."""

    resolution: int | Literal["native"] = "native"  # height of the map that is rendered
    points: int | None = None  # per level; None: in proportion to its contours
    classes: frozenset[int] | None = None  # indices; None: all


@dataclass(frozen=True)
class Segment:
    """All pixels of one class."""

    category: int  # index
    area: int
    counts: rle.Counts  # run lengths in the image's size


@dataclass(frozen=True)
class LabelMapPredictor:
    """A model ready to predict: its coarse pass, its point head (None: a base model alone), and what it tells."""

    run: Callable[[Tensor], LabelMapCoarse]
    head: PointHead | None
    preprocessing: Preprocessing
    categories: tuple[Category, ...]
    palette: tuple[Colour, ...]
    stride: int  # of the coarse logits, in network-input pixels
    fine_stride: int = 4

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Resize one RGB image [H, W, 3]."""
        resized = torch.from_numpy(np.ascontiguousarray(resize(image, self.preprocessing).transpose(2, 0, 1)))
        return Prepared(resized, image.shape[1], image.shape[0])

    @torch.inference_mode()
    def coarse(self, batch: Sequence[Prepared]) -> LabelMapCoarse:
        """One coarse pass. Images of different padded sizes would change each other's result: keep them apart."""
        return self.run(network_input([p.pixels for p in batch], self.preprocessing)[0])

    def begin(
        self, coarse: LabelMapCoarse, index: int, prepared: Prepared, options: LabelMapOptions
    ) -> LabelMapRender:
        """The label map of image `index`, yet to be rendered. Raises ValueError as `target_size` does."""
        fine = None
        if coarse.fine is not None:
            _, height, width, dim = coarse.fine.shape
            table = coarse.fine[index].reshape(height * width, dim)
            fine = FineMap(table, height, width, self.fine_stride)
        extent = (prepared.pixels.shape[1], prepared.pixels.shape[2])
        target = target_size(prepared.height, prepared.width, options.resolution)
        return LabelMapRender(coarse.coarse[index], fine, self.stride, extent, target, options.points)

    def render(self, renders: Sequence[LabelMapRender]) -> None:
        """Finish any label maps."""
        if self.head is not None:
            render(renders, self.head)

    def __call__(self, image: NDArray[np.uint8], options: LabelMapOptions) -> LabelMapRender:
        """All steps for one RGB image [H, W, 3]."""
        prepared = self.prepare(image)
        begun = self.begin(self.coarse([prepared]), 0, prepared, options)
        self.render([begun])
        return begun


def target_size(height: int, width: int, resolution: int | Literal["native"]) -> Size:
    """The size of the map that an image's request asks for. Raises ValueError if it has over MAX_CELLS cells."""
    rows = height if resolution == "native" else resolution
    columns = max(1, int(width * rows / height + 0.5))
    if rows * columns > MAX_CELLS:
        raise ValueError(
            f"a label map of {columns}×{rows} is too large: at most {MAX_CELLS} cells; lower the resolution"
        )
    return rows, columns


def label_map(
    finished: LabelMapRender, height: int, width: int, classes: frozenset[int] | None = None
) -> NDArray[np.uint8]:
    """Class indices [height, width]; cells of classes that were not asked for are VOID."""
    labels = finished.labels(height, width)
    if classes is None:
        return labels
    table = np.full(256, VOID, np.uint8)
    table[sorted(classes)] = sorted(classes)
    return table[labels]


def segments(labels: NDArray[np.uint8]) -> list[Segment]:
    """One for each class in a label map, in the classes' order."""
    found = rle.encode_labels(labels)
    return [Segment(label, rle.area(counts), counts) for label, counts in found.items() if label != VOID]


def parse_height(text: str) -> int | Literal["native"]:
    """'native' or a label map's height. Raises ValueError that says what is allowed."""
    if text == "native":
        return "native"
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= 8192:
        return int(text)
    raise ValueError(f"resolution must be native or a height from 1 to 8192, got {text[:80]!r}")


def parse_points(text: str) -> int | None:
    """'auto' (None) or points per level. Raises ValueError that says what is allowed."""
    if text == "auto":
        return None
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_POINTS:
        return int(text)
    raise ValueError(f"points must be auto or a number from 1 to {MAX_POINTS}, got {text[:80]!r}")
