"""From images to instance masks: prepare → coarse pass → choose regions → render → masks in image pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.categories import Category
from model.config.parts import Preprocessing
from model.errors import UserError
from model.masks import rle
from model.masks.paste import Crop, Pasting, paste, pasting
from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender
from model.pointrend.levels import SIDES, native_side
from model.pointrend.point_head import PointHead
from model.pointrend.render import render
from model.predict.coarse import InstanceCoarse
from model.predict.label_map import MAX_HEIGHT
from model.predict.predictor import Pixels, Prepared, Prompt, Run, by_channel, fine_map
from model.predict.preprocess import network_input
from model.predict.resize import resize

Resolution = int | Literal["native"]
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class InstanceOptions:
    """What a request may choose."""

    resolution: Resolution = "native"
    points: int | None = None  # per level; None: as many as the level needs
    score: float = 0.5
    max_instances: int = 100
    classes: frozenset[int] | None = None  # indices; None: all
    prompts: tuple[Prompt, ...] | None = None  # segment these boxes and detect nothing


@dataclass(frozen=True, eq=False)
class Mask:
    """One finished instance mask. It holds its own logits; a render would keep the maps of its whole batch."""

    category: int  # index
    score: float
    box: NDArray[np.float32]  # [4] x0, y0, x1, y1 in image pixels
    logits: Tensor  # [side, side]
    points: int | None  # evaluated per level; None: as many as the level needs
    truncated: bool

    @property
    def side(self) -> int:
        return self.logits.shape[-1]

    def crop(self, width: int, height: int) -> Crop:
        """Return the mask as the pixels of its box in a width×height image."""
        return paste(self.logits.sigmoid().numpy(), self.box.tolist(), width, height)

    def pasting(self, width: int, height: int) -> Pasting:
        """Return the same, yet to be computed, tile by tile."""
        return pasting(self.logits.sigmoid().numpy(), self.box.tolist(), width, height)


@dataclass(frozen=True, eq=False)
class Instances:
    """The masks that were found in one image: best first, or in the order of the given boxes."""

    masks: tuple[Mask, ...]

    @property
    def parts(self) -> tuple[Mask, ...]:
        return self.masks


@dataclass(frozen=True)
class Region:
    """An instance whose mask is being rendered."""

    category: int  # index
    score: float
    box: NDArray[np.float32]  # [4] x0, y0, x1, y1 in image pixels
    render: InstanceRender

    def finish(self) -> Mask:
        """Return the finest finished mask. Raise ValueError if no level is finished."""
        render = self.render
        if render.logits is None:
            raise ValueError("nothing is rendered yet")
        # A render's logits are a view of a tensor that its whole group shares.
        logits = render.logits.clone()
        return Mask(self.category, self.score, self.box, logits, render.points, render.truncated)


@dataclass(frozen=True)
class InstancePrediction:
    """The regions of one image: best first, or in the order of the given boxes."""

    regions: list[Region]

    @property
    def renders(self) -> list[InstanceRender]:
        return [region.render for region in self.regions]

    def finish(self) -> Instances:
        """Return the finest finished masks. Raise ValueError if a mask has no finished level."""
        return Instances(tuple(region.finish() for region in self.regions))


@dataclass(frozen=True)
class InstancePredictor:
    """A Mask R-CNN that is ready to predict (see `Predictor`)."""

    run: Run
    head: PointHead | None  # None: a 4×conv head, whose masks come from the coarse pass
    preprocessing: Preprocessing
    categories: tuple[Category, ...]
    fine_stride: int = 4  # of the fine map, in network-input pixels

    def prepare(self, image: Pixels, options: InstanceOptions) -> Prepared:
        """Resize one RGB image [H, W, 3]."""
        size = image.shape[1], image.shape[0]
        return self.prepare_resized(resize(image, self.preprocessing), size, options)

    def prepare_resized(self, pixels: Pixels, size: tuple[int, int], options: InstanceOptions) -> Prepared:
        """Return an image that was resized to `pixels` [h, w, 3] already. `size` is its own (width, height)."""
        return Prepared(by_channel(pixels), *size, options.prompts)

    def inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Return the inputs of a coarse pass over a batch of images and the boxes that were given for them."""
        images, sizes = network_input([p.pixels for p in batch], self.preprocessing)
        boxes, owners, classes = [torch.zeros(0, 4)], [], []
        for i, image in enumerate(batch):
            for prompt in image.prompts or ():
                boxes.append(image.to_network(torch.tensor([prompt.box], dtype=torch.float32)))
                owners.append(i)
                classes.append(-1 if prompt.category is None else prompt.category)
        return {
            "image": images,
            "size": sizes,
            "prompts": torch.cat(boxes),
            "prompt_batch": torch.tensor(owners, dtype=torch.int64),
            "prompt_class": torch.tensor(classes, dtype=torch.int64),
        }

    @torch.inference_mode()
    def coarse(self, batch: Sequence[Prepared]) -> InstanceCoarse:
        """Run one coarse pass. All images must have the same padded size, because padding reaches into results."""
        return InstanceCoarse(**self.run(self.inputs(batch)))

    def begin(
        self, coarse: InstanceCoarse, index: int, prepared: Prepared, options: InstanceOptions
    ) -> InstancePrediction:
        """Return the regions of image `index` that the options ask for, with renders that have yet to run."""
        chosen = _chosen(coarse, index, prepared, options)
        boxes = prepared.to_image(coarse.boxes[chosen])
        fine = fine_map(coarse.fine, index, self.fine_stride)
        regions = []
        for i, box in zip(chosen.tolist(), boxes, strict=True):
            width, height = (box[2:] - box[:2]).tolist()
            if width > 0 and height > 0:
                render = self._render(coarse, i, fine, options, width, height)
                regions.append(Region(render.category, float(coarse.scores[i]), box.numpy(), render))
        return InstancePrediction(regions)

    def _render(
        self,
        coarse: InstanceCoarse,
        i: int,
        fine: FineMap,
        options: InstanceOptions,
        width: float,
        height: float,
    ) -> InstanceRender:
        """Return the render of region i, whose box has the given size in image pixels."""
        cells, box, category = coarse.coarse[i], coarse.boxes[i], int(coarse.classes[i])
        if self.head is None:
            side = int(cells.shape[0] ** 0.5)
            return InstanceRender(fine, cells, box, category, side, logits=cells.view(side, side))
        side = native_side(width, height) if options.resolution == "native" else options.resolution
        return InstanceRender(fine, cells, box, category, side, options.points)

    def render(self, predictions: Sequence[InstancePrediction]) -> None:
        """Finish the masks of any predictions."""
        if self.head is not None:
            render([r for prediction in predictions for r in prediction.renders], self.head)

    def __call__(self, image: Pixels, options: InstanceOptions) -> InstancePrediction:
        """Take one RGB image [H, W, 3] through all steps."""
        one = self.prepare(image, options)
        prediction = self.begin(self.coarse([one]), 0, one, options)
        self.render([prediction])
        return prediction


def _chosen(coarse: InstanceCoarse, index: int, prepared: Prepared, options: InstanceOptions) -> Tensor:
    """Return which regions [N] of image `index` the options ask for."""
    mine = (coarse.batch == index).nonzero()[:, 0]  # detections, then given boxes
    if prepared.prompts is not None:
        return mine[len(mine) - len(prepared.prompts) :]
    mine = mine[coarse.scores[mine] >= options.score]
    if options.classes is not None:
        allowed = torch.tensor(sorted(options.classes), dtype=torch.int64)
        mine = mine[torch.isin(coarse.classes[mine], allowed)]
    best_first = coarse.scores[mine].argsort(descending=True, stable=True)
    return mine[best_first[: options.max_instances]]


def coco_result(mask: Mask, category: Category, image_id: int, width: int, height: int) -> dict[str, Any]:
    """Return one entry of a COCO results list for a mask of a width×height image."""
    counts = rle.encode(mask.crop(width, height), width, height)
    x0, y0, x1, y1 = mask.box.tolist()
    return {
        "image_id": image_id,
        "category_id": category.id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "score": mask.score,
        "segmentation": {"size": [height, width], "counts": rle.compress(counts)},
    }


def parse_resolution(text: str) -> Resolution:
    """Return 'native' or a side of SIDES. Raise ValueError that says what is allowed."""
    if text == "native":
        return "native"
    if _NUMBER.fullmatch(text) and int(text) in SIDES:
        return int(text)
    raise UserError(
        f"resolution must be native or one of {', '.join(map(str, SIDES))}, got {text[:80]!r}; "
        f"only label maps, of semantic models, have any height, up to {MAX_HEIGHT}"
    )
