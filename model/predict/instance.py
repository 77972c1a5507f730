"""From images to instances: prepare → coarse pass → choose regions → render → masks in image pixels.

The same steps serve the eager network (model/checkpoints/eager.py) and an exported bundle; only the coarse pass
differs. This is what a server needs, so it imports no network and no training package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.categories import Category
from model.config.instance import Preprocessing
from model.masks import rle
from model.masks.paste import Crop, paste
from model.pointrend.point_head import PointHead
from model.pointrend.render import SIDES, FineMap, InstanceRender, native_side, render
from model.predict.coarse import InstanceCoarse
from model.predict.preprocess import network_input, resize

RunCoarse = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], InstanceCoarse]
Resolution = int | Literal["native"]
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class Prompt:
    """A box to segment: (x0, y0, x1, y1) in image pixels, and its class's index (None: the model chooses)."""

    box: tuple[float, float, float, float]
    category: int | None = None


@dataclass(frozen=True)
class InstanceOptions:
    """What a request may choose."""

    resolution: Resolution = "native"
    points: int | None = None  # per level; None: as many as the level needs
    score: float = 0.5
    max_instances: int = 100
    classes: frozenset[int] | None = None  # indices; None: all
    prompts: tuple[Prompt, ...] | None = None  # segment these and nothing else


@dataclass(frozen=True)
class Prepared:
    """An image at the network's size."""

    pixels: Tensor  # uint8 [3, h, w] RGB
    width: int  # of the image itself
    height: int
    prompts: tuple[Prompt, ...] | None = None

    def to_network(self, boxes: Tensor) -> Tensor:
        """Boxes [N, 4] in image pixels, clipped to the image → network-input pixels."""
        limits = boxes.new_tensor([self.width, self.height, self.width, self.height])
        return boxes.clamp(min=0).minimum(limits) * self._scale(boxes)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes [N, 4] in network-input pixels → image pixels, clipped to the image."""
        limits = boxes.new_tensor([self.width, self.height, self.width, self.height])
        return (boxes / self._scale(boxes)).clamp(min=0).minimum(limits)

    def _scale(self, like: Tensor) -> Tensor:
        x, y = self.pixels.shape[2] / self.width, self.pixels.shape[1] / self.height
        return like.new_tensor([x, y, x, y])


@dataclass(frozen=True)
class Region:
    """An instance whose mask is being rendered."""

    category: int  # index
    score: float
    box: NDArray[np.float32]  # [4] x0, y0, x1, y1 in image pixels
    render: InstanceRender


@dataclass(frozen=True)
class InstancePredictor:
    """A model ready to predict: its coarse pass, its point head (None: 4×conv), its preprocessing and classes."""

    run: RunCoarse
    head: PointHead | None
    preprocessing: Preprocessing
    categories: tuple[Category, ...]
    fine_stride: int = 4  # of the fine map, in network-input pixels

    def prepare(self, image: NDArray[np.uint8], prompts: tuple[Prompt, ...] | None = None) -> Prepared:
        """Resize one RGB image [H, W, 3]."""
        resized = torch.from_numpy(np.ascontiguousarray(resize(image, self.preprocessing).transpose(2, 0, 1)))
        return Prepared(resized, image.shape[1], image.shape[0], prompts)

    @torch.inference_mode()
    def coarse(self, batch: Sequence[Prepared]) -> InstanceCoarse:
        """One coarse pass. Images of different padded sizes would change each other's result: keep them apart."""
        images, sizes = network_input([p.pixels for p in batch], self.preprocessing)
        boxes, owners, classes = [torch.zeros(0, 4)], [], []
        for i, prepared in enumerate(batch):
            for prompt in prepared.prompts or ():
                boxes.append(prepared.to_network(torch.tensor([prompt.box], dtype=torch.float32)))
                owners.append(i)
                classes.append(-1 if prompt.category is None else prompt.category)
        given = (torch.tensor(owners, dtype=torch.int64), torch.tensor(classes, dtype=torch.int64))
        return self.run(images, sizes, torch.cat(boxes), *given)

    def regions(
        self, coarse: InstanceCoarse, index: int, prepared: Prepared, options: InstanceOptions
    ) -> list[Region]:
        """The instances of image `index` that the options ask for, with renders that are yet to run."""
        mine = (coarse.batch == index).nonzero()[:, 0]  # detections, then prompts
        if prepared.prompts is not None:
            mine = mine[len(mine) - len(prepared.prompts) :]
        else:
            mine = mine[coarse.scores[mine] >= options.score]
            if options.classes is not None:
                allowed = torch.tensor(sorted(options.classes), dtype=torch.int64)
                mine = mine[torch.isin(coarse.classes[mine], allowed)]
            best_first = coarse.scores[mine].argsort(descending=True, stable=True)
            mine = mine[best_first[: options.max_instances]]
        boxes = prepared.to_image(coarse.boxes[mine])
        fine = self._fine(coarse, index)
        regions = []
        for i, box in zip(mine.tolist(), boxes, strict=True):
            width, height = (box[2:] - box[:2]).tolist()
            if width <= 0 or height <= 0:
                continue
            regions.append(
                Region(
                    int(coarse.classes[i]),
                    float(coarse.scores[i]),
                    box.numpy(),
                    self._render(coarse, i, fine, options, width, height),
                )
            )
        return regions

    def _fine(self, coarse: InstanceCoarse, index: int) -> FineMap:
        _, height, width, dim = coarse.fine.shape
        return FineMap(coarse.fine[index].reshape(height * width, dim), height, width, self.fine_stride)

    def _render(
        self,
        coarse: InstanceCoarse,
        i: int,
        fine: FineMap,
        options: InstanceOptions,
        width: float,
        height: float,
    ) -> InstanceRender:
        cells = coarse.coarse[i]
        if self.head is None:
            side = int(cells.shape[0] ** 0.5)
            logits = cells.view(side, side)
            return InstanceRender(fine, cells, coarse.boxes[i], int(coarse.classes[i]), side, logits=logits)
        side = native_side(width, height) if options.resolution == "native" else options.resolution
        return InstanceRender(fine, cells, coarse.boxes[i], int(coarse.classes[i]), side, options.points)

    def render(self, regions: Sequence[Region]) -> None:
        """Finish the masks of any regions, of one image or several."""
        if self.head is not None:
            render([region.render for region in regions], self.head)

    def __call__(self, image: NDArray[np.uint8], options: InstanceOptions) -> list[Region]:
        """All steps for one RGB image [H, W, 3]."""
        prepared = self.prepare(image, options.prompts)
        regions = self.regions(self.coarse([prepared]), 0, prepared, options)
        self.render(regions)
        return regions


def crop(region: Region, width: int, height: int) -> Crop:
    """The region's mask as the pixels of its box in a width×height image."""
    return paste(region.render.probability().numpy(), region.box.tolist(), width, height)


def coco_result(region: Region, category: Category, image_id: int, width: int, height: int) -> dict[str, Any]:
    """One entry of a COCO results list."""
    counts = rle.encode(crop(region, width, height), width, height)
    x0, y0, x1, y1 = region.box.tolist()
    return {
        "image_id": image_id,
        "category_id": category.id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "score": region.score,
        "segmentation": {"size": [height, width], "counts": rle.compress(counts)},
    }


def parse_resolution(text: str) -> Resolution:
    """'native' or a side of SIDES. Raises ValueError that says what is allowed."""
    if text == "native":
        return "native"
    if _NUMBER.fullmatch(text) and int(text) in SIDES:
        return int(text)
    raise ValueError(f"resolution must be native or one of {', '.join(map(str, SIDES))}, got {text[:80]!r}")


def parse_points(text: str) -> int | None:
    """'auto' (None) or points per level. Raises ValueError that says what is allowed."""
    if text == "auto":
        return None
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= SIDES[-1] ** 2:
        return int(text)
    raise ValueError(f"points must be auto or a number from 1 to {SIDES[-1] ** 2}, got {text[:80]!r}")
