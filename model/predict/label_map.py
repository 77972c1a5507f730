"""From images to label maps: prepare → coarse pass → render → labels of any size, and a mask of each class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.categories import Category
from model.config.parts import Preprocessing
from model.errors import UserError
from model.masks.palette import VOID, Colour
from model.pointrend.label_map import LabelMapRender
from model.pointrend.label_map_levels import Size
from model.pointrend.label_map_pyramid import Pyramid
from model.pointrend.point_head import PointHead
from model.pointrend.render import points_that_fit, render
from model.predict.coarse import LabelMapCoarse
from model.predict.predictor import CPU, Pixels, Prepared, Run, by_channel, fine_map
from model.predict.preprocess import network_input
from model.predict.resize import resize

MAX_HEIGHT = 8192
MAX_CELLS = 4096 * 8192
_NUMBER = re.compile("[0-9]{1,7}")


@dataclass(frozen=True)
class LabelMapOptions:
    """What a request may choose."""

    resolution: int | Literal["native"] = "native"  # height of the map that is rendered
    points: int | None = None  # per level; None: in proportion to the length of the contours
    classes: frozenset[int] | None = None  # indices; None: all


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The class of every pixel of one image."""

    pyramid: Pyramid  # the finished levels
    asked: Size  # of the map that was asked for
    classes: frozenset[int] | None  # indices; None: all
    points: int | None  # evaluated per level; None: as many as the level needs
    truncated: bool

    @property
    def side(self) -> int:
        """The height that was reached."""
        return self.pyramid.size[0]

    @property
    def parts(self) -> tuple[LabelMap]:
        return (self,)

    @property
    def nbytes(self) -> int:
        return self.pyramid.base.nbytes

    def labels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return class indices [height, width]; VOID where the class was not asked for."""
        result = np.empty((height, width), np.uint8)
        start = 0
        for band in self.bands(height, width):
            result[start : start + len(band)] = band
            start += len(band)
        return result

    def bands(self, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
        """Return an iterator over the rows of `labels` in bands, each computed when it is asked for."""
        bands = self.pyramid.bands(height, width)
        if self.classes is None:
            return bands
        table = np.full(256, VOID, np.uint8)
        table[sorted(self.classes)] = sorted(self.classes)
        return (table[band] for band in bands)


@dataclass(frozen=True)
class LabelMapPrediction:
    """One image's label map, whose render may still have to run."""

    render: LabelMapRender
    asked: Size
    classes: frozenset[int] | None = None
    width: int = 0  # of the image
    height: int = 0

    @property
    def renders(self) -> list[LabelMapRender]:
        return [self.render]

    def finish(self) -> LabelMap:
        """Return the finest finished map. Its coarse logits are copied: they are a view of the whole batch's."""
        levels = self.render.pyramid
        own = Pyramid(levels.base.clone(), list(levels.levels))
        return LabelMap(own, self.asked, self.classes, self.render.points, self.render.truncated)

    def snapshot(self) -> LabelMapPrediction:
        """Return a prediction that stays as this one is now. A finished level is never written to afterwards."""
        return replace(self, render=self.render.snapshot())


@dataclass(frozen=True)
class LabelMapPredictor:
    """A semantic segmentation network that is ready to predict (see `Predictor`)."""

    run: Run
    head: PointHead | None  # None: a base model alone
    preprocessing: Preprocessing
    categories: tuple[Category, ...]
    palette: tuple[Colour, ...]
    stride: int  # of the coarse logits, in network-input pixels
    fine_stride: int = 4
    device: torch.device = CPU  # of the coarse pass's inputs and outputs, and of the renderer

    def prepare(self, image: Pixels, options: LabelMapOptions) -> Prepared:
        """Resize one RGB image [H, W, 3]."""
        size = image.shape[1], image.shape[0]
        return self.prepare_resized(resize(image, self.preprocessing), size, options)

    def prepare_resized(self, pixels: Pixels, size: tuple[int, int], options: LabelMapOptions) -> Prepared:
        """Return an image that was resized to `pixels` [h, w, 3] already. `size` is its own (width, height)."""
        return Prepared(by_channel(pixels), *size)

    @property
    def detects(self) -> bool:
        """Return False: label maps have no boxes."""
        return False

    def detect(self, batch: Sequence[Prepared]) -> list[Prepared]:
        """Return the images as they are."""
        return list(batch)

    def inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Return the inputs of a coarse pass over a batch of images."""
        return {"image": network_input([p.pixels for p in batch], self.preprocessing, self.device)[0]}

    @torch.inference_mode()
    def coarse(self, batch: Sequence[Prepared]) -> LabelMapCoarse:
        """Run one coarse pass. All images must have the same padded size, because padding reaches into results."""
        return LabelMapCoarse(**self.run(self.inputs(batch)))

    def begin(
        self, coarse: LabelMapCoarse, index: int, prepared: Prepared, options: LabelMapOptions
    ) -> LabelMapPrediction:
        """Return the label map of image `index`, yet to be rendered. Raise ValueError as `target_size` does."""
        fine = None if coarse.fine is None else fine_map(coarse.fine, index, self.fine_stride)
        extent = (prepared.pixels.shape[1], prepared.pixels.shape[2])
        target = target_size(prepared.height, prepared.width, options.resolution)
        begun = LabelMapRender(coarse.coarse[index], fine, self.stride, extent, target, options.points)
        return LabelMapPrediction(begun, target, options.classes, prepared.width, prepared.height)

    def render(self, predictions: Sequence[LabelMapPrediction]) -> None:
        """Finish the label maps of any predictions."""
        if self.head is not None:
            renders = [prediction.render for prediction in predictions]
            render(renders, self.head, points_that_fit(self.device, self.head.dim))

    def __call__(self, image: Pixels, options: LabelMapOptions) -> LabelMapPrediction:
        """Take one RGB image [H, W, 3] through all steps."""
        one = self.prepare(image, options)
        prediction = self.begin(self.coarse([one]), 0, one, options)
        self.render([prediction])
        return prediction


def target_size(height: int, width: int, resolution: int | Literal["native"]) -> Size:
    """Return the size of the map that a request asks for. Raise ValueError if it has over MAX_CELLS cells."""
    rows = height if resolution == "native" else resolution
    columns = max(1, int(width * rows / height + 0.5))
    if rows * columns > MAX_CELLS:
        raise UserError(
            f"a label map of {columns}×{rows} is too large: at most {MAX_CELLS} cells; lower the resolution"
        )
    return rows, columns


def parse_height(text: str) -> int | Literal["native"]:
    """Return 'native' or the height of a label map. Raise ValueError that says what is allowed."""
    if text == "native":
        return "native"
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_HEIGHT:
        return int(text)
    raise UserError(f"resolution must be native or a height from 1 to {MAX_HEIGHT}, got {text[:80]!r}")
