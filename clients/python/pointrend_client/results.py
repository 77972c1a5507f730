"""What a client gets: an answer of format `rle`, whose masks are decoded only when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pointrend_client.compact import compact_mask
from pointrend_client.errors import ClientError
from pointrend_client.explanation import Explanation, parse_explanation
from pointrend_client.rle import cropped, decoded

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
    counts: str = field(repr=False)
    size: tuple[int, int]  # height, width of the image
    resolution: int
    truncated: bool
    explanation: Explanation | None = None  # where the mask comes from, if that was asked for

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask [height, width] of the whole image, decoded anew each time."""
        return decoded(self.counts, self.size)


@dataclass(frozen=True)
class Segment:
    """All pixels of one class, of a semantic model."""

    category: str
    category_id: int
    area: int
    counts: str = field(repr=False)
    size: tuple[int, int]  # height, width of the image

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask [height, width] of the whole image, decoded anew each time."""
        return decoded(self.counts, self.size)

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """x, y, width and height of the box around all its pixels, in image pixels."""
        crop = cropped(self.counts, self.size)
        return float(crop.left), float(crop.top), float(crop.width), float(crop.height)


@dataclass(frozen=True)
class Segmentation:
    """An answer of format `rle`: instances of an instance model, segments of a semantic one."""

    id: str
    model: str
    width: int
    height: int
    instances: tuple[Instance, ...]
    segments: tuple[Segment, ...]
    degraded: bool
    timings_ms: Mapping[str, float]
    side: int | None = None  # of a level of a stream: the side that is finished; None: the whole answer
    kept: str | None = None  # the id of the kept picture, for `render`; None: it is not kept

    @property
    def _found(self) -> list[Instance | Segment]:
        return [*self.instances, *self.segments]

    def masks(self) -> NDArray[np.bool_]:
        """Return all masks, [N, height, width], of the instances or the segments."""
        masks = [each.mask for each in self._found]
        return np.array(masks, bool).reshape(-1, self.height, self.width)

    def detections(self) -> supervision.Detections:
        """Return the instances or segments for the library `supervision`. Raises ClientError if it is not installed.

        Its masks take the memory of their outlines (`CompactMask`), or in older versions that of all pixels.
        """
        try:
            from supervision import Detections
        except ModuleNotFoundError as error:
            raise ClientError(
                "detections() needs the library supervision: pip install supervision"
            ) from error

        found = self._found
        corners = [(x, y, x + w, y + h) for x, y, w, h in (each.bbox for each in found)]
        scores = np.array([each.score for each in self.instances], np.float32)
        masks = compact_mask([cropped(each.counts, each.size) for each in found], (self.height, self.width))
        return Detections(
            xyxy=np.array(corners, np.float32).reshape(-1, 4),
            mask=self.masks() if masks is None else masks,
            confidence=None if self.segments else scores,
            class_id=np.array([each.category_id for each in found], int),
            data={"class_name": np.array([each.category for each in found], dtype=str)},
        )

    def fiftyone_detections(self) -> list[dict[str, Any]]:
        """Return the instances or segments as arguments of `fiftyone.Detection` each.

        A mask is the bitmap of its smallest box, and `bounding_box` that box in parts of the picture.
        """
        return [
            {
                "label": each.category,
                "bounding_box": [
                    crop.left / self.width,
                    crop.top / self.height,
                    crop.width / self.width,
                    crop.height / self.height,
                ],
                "mask": crop.bitmap,
                **({"confidence": each.score} if isinstance(each, Instance) else {}),
            }
            for each in self._found
            for crop in (cropped(each.counts, each.size),)
        ]


@dataclass(frozen=True)
class ServedModel:
    """A model of the service, as GET /models tells of it."""

    name: str
    task: str  # instance, semantic
    ready: bool
    categories: Mapping[int, str]  # names of the classes by id, in the order of a label map's values
    palette: tuple[tuple[int, int, int], ...]  # the colour of each class of a semantic model, else empty
    card: Mapping[str, Any] = field(repr=False)  # all that /models says


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
            explanation=parse_explanation(each.get("explain")),
        )
        for each in answer.get("instances", ())
    )
    segments = tuple(
        Segment(
            category=each["category"],
            category_id=each["category_id"],
            area=each["area"],
            counts=each["segmentation"]["counts"],
            size=tuple(each["segmentation"]["size"]),
        )
        for each in answer.get("segments", ())
    )
    return Segmentation(
        answer["id"],
        answer["model"],
        answer["width"],
        answer["height"],
        instances,
        segments,
        answer["degraded"],
        answer["timings_ms"],
        answer.get("side"),
        answer.get("kept"),
    )


def parse_model(card: Mapping[str, Any]) -> ServedModel:
    """Return an entry of GET /models, given as its JSON."""
    return ServedModel(
        name=card["name"],
        task=card["task"],
        ready=card["ready"],
        categories={each["id"]: each["name"] for each in card["categories"]},
        palette=tuple((red, green, blue) for red, green, blue in card.get("palette") or ()),
        card=card,
    )


def read_label_map(picture: bytes) -> NDArray[np.uint8]:
    """Return the label map [height, width] of an answer of format `png`: the indices into its palette."""
    with Image.open(io.BytesIO(picture)) as image:
        return np.array(image)


def read_cutout(picture: bytes) -> Image.Image:
    """Return the picture of an answer of format `cutout`, in mode RGBA."""
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        return image


def read_probabilities(picture: bytes) -> NDArray[np.uint8]:
    """Return the grey levels [height, width] of a rendered window: 255 times the probability of each pixel."""
    with Image.open(io.BytesIO(picture)) as image:
        return np.array(image)
