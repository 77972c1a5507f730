"""Random views of an image and its label map: scale, crop, flip, colour.

H, W image size · h, w crop size
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from model.data.augment import View, recolour
from model.data.images import Pixels
from model.errors import UserError


@dataclass(frozen=True)
class LabelAugmentation:
    """What may happen to a training image; all crops have one size, so that nothing needs padding."""

    crop: tuple[int, int] = (512, 1024)  # height, width in pixels, multiples of the network's stride
    scales: tuple[float, float] = (0.5, 2.0)  # least and largest; one is drawn, uniform in its logarithm
    flip: float = 0.5  # probability
    colour: float = 0.0  # brightness, contrast and saturation change by up to this share

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or min(self.crop) < 1:
            raise UserError(f"crop must be a height and a width of at least 1 pixel, got {self.crop}")
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1]:
            raise UserError(f"scales must be a least and a largest one above 0, got {self.scales}")
        if not 0 <= self.flip <= 1:
            raise UserError(f"flip must lie between 0 and 1, got {self.flip}")
        if not 0 <= self.colour < 1:
            raise UserError(f"colour must be at least 0 and below 1, got {self.colour}")

    def view(self, height: int, width: int, rng: np.random.Generator) -> View:
        """Draw a crop of an image of this size; its scale is never so small that the crop would not fit."""
        low, high = (math.log(scale) for scale in self.scales)
        scale = max(math.exp(rng.uniform(low, high)), self.crop[0] / height, self.crop[1] / width)
        h, w = (
            min(max(round(c / scale), 1), side) for c, side in zip(self.crop, (height, width), strict=True)
        )
        x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        return View((x, y), (w, h), self.crop, bool(rng.random() < self.flip))

    def __call__(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Draw a view of an image [H, W, 3] and its labels [H, W]: [h, w, 3] and [h, w]."""
        view = self.view(image.shape[0], image.shape[1], rng)
        return np.array(recolour(view.image(image), self.colour, rng)), view.labels(labels)
