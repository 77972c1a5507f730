"""What a client gets: an answer of format `rle`, whose masks are decoded only when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.masks import rle

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class Instance:
    """One instance and its mask."""

    category: str
    category_id: int
    score: float
    bbox: tuple[float, float, float, float]  # x, y, width, height in image pixels
    area: int
    counts: str
    size: tuple[int, int]  # height, width of the image
    resolution: int
    truncated: bool

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask [height, width] of the whole image, decoded anew each time."""
        height, width = self.size
        return rle.decode(rle.decompress(self.counts), width, height)


@dataclass(frozen=True)
class Segmentation:
    """An answer of format `rle`."""

    id: str
    model: str
    width: int
    height: int
    instances: tuple[Instance, ...]
    degraded: bool
    timings_ms: Mapping[str, float]

    def masks(self) -> NDArray[np.bool_]:
        """Return all masks, [N, height, width]."""
        return np.array([i.mask for i in self.instances], bool).reshape(-1, self.height, self.width)

    def detections(self) -> supervision.Detections:
        """Return the instances for the library `supervision`, which must be installed."""
        from supervision import Detections

        corners = [(x, y, x + w, y + h) for x, y, w, h in (i.bbox for i in self.instances)]
        return Detections(
            xyxy=np.array(corners, np.float32).reshape(-1, 4),
            mask=self.masks(),
            confidence=np.array([i.score for i in self.instances], np.float32),
            class_id=np.array([i.category_id for i in self.instances], int),
            data={"class_name": np.array([i.category for i in self.instances], dtype=str)},
        )


def parse(answer: Mapping[str, Any]) -> Segmentation:
    """Return an answer of format `rle`, given as its JSON, as objects."""
    instances = tuple(
        Instance(
            category=each["category"],
            category_id=each["category_id"],
            score=each["score"],
            bbox=tuple(each["bbox"]),
            area=each["area"],
            counts=each["segmentation"]["counts"],
            size=tuple(each["segmentation"]["size"]),
            resolution=each["resolution"],
            truncated=each["truncated"],
        )
        for each in answer["instances"]
    )
    return Segmentation(
        answer["id"],
        answer["model"],
        answer["width"],
        answer["height"],
        instances,
        answer["degraded"],
        answer["timings_ms"],
    )


def read_label_map(picture: bytes) -> NDArray[np.uint8]:
    """Return the label map [height, width] of an answer of format `png`: the indices into its palette."""
    with Image.open(io.BytesIO(picture)) as image:
        return np.array(image)
