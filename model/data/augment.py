"""Random views of an annotated image: crop, resize, flip, colour.

Everything is a pure function of its arguments and a numpy Generator. Coordinates are continuous: pixel
i covers [i, i + 1], so a flip maps x to width - x. Polygons are moved as coordinates and rasterised
only at the final size, which is both faster and sharper than resizing a bitmap.

H, W image size · N instances · M instances still in view
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from pycocotools import mask as rle_codec

from model.data.images import Pixels
from model.errors import UserError
from model.predict.resize import resized_size

Floats = NDArray[np.floating[Any]]

_LEAST_LEFT = 0.25  # a box of which less than this share stays in view is no longer its object
_LEAST_SIDE = 2.0  # pixels


class CompressedRle(TypedDict):
    """A compressed COCO run-length encoding."""

    size: list[int]  # height, width
    counts: bytes


Polygons = tuple[Floats, ...]  # each [P,2], x and y in pixels; together one object
Shape = Polygons | CompressedRle


@dataclass(frozen=True)
class View:
    """A rectangle of an image, resized, perhaps mirrored."""

    origin: tuple[int, int]  # x, y of the rectangle
    extent: tuple[int, int]  # its width, height
    size: tuple[int, int]  # final height, width
    flipped: bool = False

    def image(self, image: Pixels) -> Image.Image:
        """Return the view of an RGB image [H,W,3], at its final size."""
        return self._resize(Image.fromarray(image))

    def points(self, xy: Floats) -> Floats:
        """Return points [...,2] of the image in pixels of the view, perhaps outside of it."""
        height, width = self.size
        scale = np.array([width, height]) / np.array(self.extent)
        moved: Floats = (xy - np.array(self.origin)) * scale
        if self.flipped:
            moved[..., 0] = width - moved[..., 0]
        return moved

    def boxes(self, boxes: Floats) -> Floats:
        """Return boxes [N,4] (x0, y0, x1, y1) of the image in pixels of the view, not clipped."""
        corners = self.points(boxes.reshape(-1, 2, 2))
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    def mask(self, shape: Shape) -> Pixels:
        """Return the bitmap [H,W] of 0 and 1 of an object at the view's size; what is out of view is cut off."""
        height, width = self.size
        if isinstance(shape, tuple):
            parts = rle_codec.frPyObjects([self.points(p).ravel() for p in shape], height, width)
            return np.asarray(rle_codec.decode(rle_codec.merge(parts)), dtype=np.uint8)
        whole = Image.fromarray(rle_codec.decode(shape) * np.uint8(255))
        return (np.asarray(self._resize(whole)) >= 128).astype(np.uint8)

    def labels(self, labels: Pixels) -> Pixels:
        """Return the view of a label map [H,W] at its final size: each pixel has the class at its centre."""
        return np.array(self._resize(Image.fromarray(labels), Image.Resampling.NEAREST))

    def _resize(
        self, image: Image.Image, resampling: Image.Resampling = Image.Resampling.BILINEAR
    ) -> Image.Image:
        height, width = self.size
        (x, y), (w, h) = self.origin, self.extent
        resized = image.resize((width, height), resampling, box=(x, y, x + w, y + h))
        return resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flipped else resized


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image; the defaults only resize and flip."""

    short_edges: tuple[int, ...] = (800,)  # pixels, one is drawn per batch: no padding for the largest
    long_edge: int = 1333  # pixels, never passed
    # Largest factor by which an image is enlarged; a very small image stays below its batch's edge.
    enlarge: float = 8.0
    flip: float = 0.5  # probability
    crop: float = 0.0  # probability; a crop is resized like a whole image, so it also zooms in
    crop_least: float = 0.5  # least width and height of a crop, relative to the image's
    colour: float = 0.0  # brightness, contrast and saturation change by up to this share
    paste: float = 0.0  # probability of pasting instances of another image on top (model/data/copy_paste.py)
    paste_least: float = 0.25  # what is pasted shrinks by a random factor, at most this one

    def __post_init__(self) -> None:
        if not self.short_edges or min(*self.short_edges, self.long_edge) < 1:
            raise UserError(f"edges must be at least 1 pixel: {self.short_edges}, long edge {self.long_edge}")
        chances, least = (self.flip, self.crop, self.paste), (self.crop_least, self.paste_least)
        if not (all(0 <= p <= 1 for p in chances) and all(0 < p <= 1 for p in least)):
            raise UserError(
                "flip, crop, paste, crop_least and paste_least must lie between 0 and 1, the last two above 0"
            )
        if not self.enlarge >= 1:
            raise UserError(f"enlarge must be at least 1, got {self.enlarge}")
        if not 0 <= self.colour < 1:
            raise UserError(f"colour must be at least 0 and below 1, got {self.colour}")

    def view(self, height: int, width: int, rng: np.random.Generator) -> View:
        """Draw a view of an image of this size."""
        w, h, x, y = width, height, 0, 0
        if rng.random() < self.crop:
            # The crop has the image's shape, so that batches of like images need little padding.
            share = rng.uniform(self.crop_least, 1)
            w, h = (max(1, round(side * share)) for side in (width, height))
            x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        short_edge = self.short_edges[rng.integers(len(self.short_edges))]
        size = resized_size(h, w, min(short_edge, round(self.enlarge * min(h, w))), self.long_edge)
        return View((x, y), (w, h), (max(1, size[0]), max(1, size[1])), bool(rng.random() < self.flip))

    def at(self, short_edge: int, shrink: float = 1.0) -> Augmentation:
        """Return the same augmentation at one size, smaller by a factor."""
        short_edge, long_edge = (max(1, round(edge * shrink)) for edge in (short_edge, self.long_edge))
        return replace(self, short_edges=(short_edge,), long_edge=long_edge)


def recolour(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Return the image with brightness, contrast and saturation changed at random by up to a share."""
    if share:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhance(image).enhance(float(rng.uniform(1 - share, 1 + share)))
    return image


@dataclass(frozen=True)
class Augmented:
    """A view with what is left of its instances."""

    image: Pixels  # [H,W,3] RGB
    boxes: NDArray[np.float32]  # [M,4] x0, y0, x1, y1 in pixels of the view
    masks: Pixels  # [M,H,W] of 0 and 1; zeros where only the box is known
    kept: NDArray[np.int64]  # [M] positions among the given instances
    ignored: NDArray[np.float32]  # [K,4] boxes, perhaps empty, in which nothing trains as background


def augment(
    image: Pixels,
    boxes: Floats,
    shapes: Sequence[Shape | None],
    augmentation: Augmentation,
    rng: np.random.Generator,
    crowds: Sequence[Sequence[float]] = (),
) -> Augmented:
    """Draw a view of an image [H,W,3] with boxes [N,4], their N shapes (None: only the box is known) and crowds.

    Instances that are cut off by a crop get the tight box of what is left of their mask (without
    a mask, the clipped box); those of which too little is left are ignored, as crowds are.
    """
    view = augmentation.view(image.shape[0], image.shape[1], rng)
    pixels = np.array(recolour(view.image(image), augmentation.colour, rng))
    whole = view.boxes(np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
    height, width = view.size
    limits = [width, height, width, height]
    left = whole.clip(0, limits)
    kept = _in_view(left, whole)
    masks = np.zeros((len(kept), height, width), dtype=np.uint8)
    for mask, i in zip(masks, kept, strict=True):
        shape = shapes[i]
        if shape is None:
            continue
        mask[:] = view.mask(shape)
        if np.abs(left[i] - whole[i]).max() > 1e-3 or not mask.any():
            left[i] = tight_box(mask)
    still = _in_view(left[kept], whole[kept])
    masks, kept = masks[still], kept[still]
    crowded = view.boxes(np.asarray(crowds, dtype=np.float64).reshape(-1, 4)).clip(0, limits)
    ignored = np.concatenate([np.delete(left, kept, axis=0), crowded])
    return Augmented(pixels, left[kept].astype(np.float32), masks, kept, ignored.astype(np.float32))


def tight_box(mask: Pixels) -> NDArray[np.float64]:
    """Return the least box [4] (x0, y0, x1, y1) around a mask [H,W]; zeros if it is empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def _in_view(left: Floats, whole: Floats) -> NDArray[np.int64]:
    """Return the positions of the boxes [N,4] of which enough is left to learn from."""
    sides, before = left[:, 2:] - left[:, :2], whole[:, 2:] - whole[:, :2]
    enough = (sides.prod(axis=1) >= _LEAST_LEFT * before.prod(axis=1)) & (sides >= _LEAST_SIDE).all(axis=1)
    return np.flatnonzero(enough)
