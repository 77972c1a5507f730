"""What the predictors of all tasks have in common.

A predictor takes an image through these steps: prepare → detect → coarse pass → begin the renders → render → finish.
Only a model with a detector of its own does anything in the second of them. The same
steps serve a network in PyTorch and an exported bundle; only the function that runs the coarse pass differs. A server
needs this and nothing of networks or training, so none of these is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.categories import Category
from model.config.parts import Preprocessing
from model.errors import UserError
from model.pointrend.features import FineMap
from model.pointrend.levels import SIDES
from model.pointrend.point_head import PointHead
from model.pointrend.render import Render
from model.predict.detection import DetectedBoxes, Wanted

# A coarse pass: named inputs → named outputs. Inputs that the network does not have are ignored.
Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
Pixels = NDArray[np.uint8]
CPU = torch.device("cpu")
MAX_POINTS = SIDES[-1] ** 2  # per level: every cell of the largest mask
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class Prompt:
    """A box to segment: (x0, y0, x1, y1) in image pixels, and the index of its class (None: the model chooses)."""

    box: tuple[float, float, float, float]
    category: int | None = None


@dataclass(frozen=True)
class Prepared:
    """An image at the size of the network's input."""

    pixels: Tensor  # uint8 [3, h, w] RGB; of a kept picture only their shape is known (device "meta")
    width: int  # of the image itself
    height: int
    prompts: tuple[Prompt, ...] | None = None  # boxes that the request brings
    wanted: Wanted = field(default_factory=Wanted)  # what a detector of the model's own is asked for
    detected: DetectedBoxes | None = None  # what it found, in pixels of the network's input
    keep: bool = False  # whether its features shall be kept, if the model offers boxes of kept pictures

    @property
    def given(self) -> int | None:
        """The number of boxes that the coarse pass is given for the image; None if it has to detect."""
        boxes = self.detected if self.prompts is None else self.prompts
        return None if boxes is None else len(boxes)

    def to_network(self, boxes: Tensor) -> Tensor:
        """Clip boxes [N, 4] in image pixels to the image, and return them in network-input pixels."""
        limits = boxes.new_tensor([self.width, self.height, self.width, self.height])
        return boxes.clamp(min=0).minimum(limits) * self._scale(boxes)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Return boxes [N, 4] in network-input pixels as image pixels, clipped to the image."""
        limits = boxes.new_tensor([self.width, self.height, self.width, self.height])
        return (boxes / self._scale(boxes)).clamp(min=0).minimum(limits)

    def _scale(self, like: Tensor) -> Tensor:
        x, y = self.pixels.shape[2] / self.width, self.pixels.shape[1] / self.height
        return like.new_tensor([x, y, x, y])


class Part(Protocol):
    """One mask or label map of a result."""

    @property
    def side(self) -> int:
        """The side of the mask, or the height of the label map, that was reached."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether it is coarser than what was asked for."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that it alone holds."""
        ...


class Result(Protocol):
    """What was found in one image. It owns its memory: no map of the whole batch is kept."""

    @property
    def parts(self) -> Sequence[Part]: ...


class Prediction(Protocol):
    """What was found in one image, with renders that may still have to run."""

    @property
    def renders(self) -> Sequence[Render]: ...

    def finish(self) -> Result:
        """Return the result with the finest finished masks. Raise ValueError if a mask has no finished level."""
        ...

    def snapshot(self) -> Prediction:
        """Return a prediction that stays as this one is now while its renders go on. Finished levels are shared."""
        ...


class Predictor(Protocol):
    """A model that is ready to predict."""

    @property
    def run(self) -> Run: ...
    @property
    def head(self) -> PointHead | None:
        """The point head. None: the coarse pass gives the final masks, and every render is done from the start."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the coarse pass's inputs and outputs are, and where renders run."""
        ...

    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def categories(self) -> tuple[Category, ...]: ...

    def prepare(self, image: Pixels, options: Any) -> Prepared:
        """Resize one RGB image [H, W, 3]."""
        ...

    def prepare_resized(self, pixels: Pixels, size: tuple[int, int], options: Any) -> Prepared:
        """Return an image that was resized to `pixels` [h, w, 3] already. `size` is its own (width, height)."""
        ...

    @property
    def detects(self) -> bool:
        """Whether boxes are found by a detector of its own, in `detect`, and not in the coarse pass."""
        ...

    def detect(self, batch: Sequence[Prepared]) -> list[Prepared]:
        """Return the images with the boxes that a detector of its own finds in those for which none are given."""
        ...

    def coarse(self, batch: Sequence[Prepared]) -> Any:
        """Run one coarse pass. All images must have the same padded size, because padding reaches into results."""
        ...

    def begin(self, coarse: Any, index: int, prepared: Prepared, options: Any) -> Prediction:
        """Return what the coarse pass found in image `index`, as far as the options ask for it."""
        ...

    def render(self, predictions: Sequence[Any]) -> None:
        """Finish all renders of any predictions."""
        ...

    def __call__(self, image: Pixels, options: Any) -> Prediction:
        """Take one RGB image [H, W, 3] through all steps."""
        ...


def by_channel(image: Pixels) -> Tensor:
    """Return an image [h, w, 3] as a tensor [3, h, w] with memory of its own."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def fine_map(fine: Tensor, index: int, stride: int) -> FineMap:
    """Return the fine map of image `index`, whose rows are a part of the table of its batch's maps [B, h, w, D]."""
    _, height, width, _ = fine.shape
    return FineMap(fine, height, width, stride, index * height * width)


def parse_points(text: str) -> int | None:
    """Return None for 'auto', or points per level. Raise ValueError that says what is allowed."""
    if text == "auto":
        return None
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_POINTS:
        return int(text)
    raise UserError(f"points must be auto or a number from 1 to {MAX_POINTS}, got {text[:80]!r}")
