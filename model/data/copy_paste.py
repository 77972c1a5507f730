"""Copy-paste: instances of one training image on top of another.

Simple Copy-Paste (Ghiasi et al., arXiv:2012.07177) makes the overlaps that a small data set with masks
lacks, and every edge of what was pasted is known. Without blending, as there.

H, W image size · N instances
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.augment import tight_box
from model.data.images import Pixels

_LEAST_LEFT = 0.2  # an instance of which less than this share stays visible is no longer its object
_LEAST_AREA = 16  # pixels, of a pasted instance in view


@dataclass(frozen=True)
class InstanceSample:
    """One training image with its instances."""

    image: Pixels  # [H,W,3] RGB
    boxes: NDArray[np.float32]  # [N,4] x0, y0, x1, y1 in pixels
    classes: NDArray[np.int64]  # [N] positions among the categories
    masks: Pixels  # [N,H,W] of 0 and 1; zeros where it is not known
    masked: NDArray[np.bool_]  # [N] whose mask is known; the others train detection only
    ignored: NDArray[np.float32]  # [K,4] boxes, perhaps empty, of what is neither instance nor background


def paste(onto: InstanceSample, source: InstanceSample, rng: np.random.Generator) -> InstanceSample:
    """Return `onto` with some of the source's masked instances on top, all moved by one random offset.

    The source may be of any size; at least one of its instances is taken. What they cover is taken from the
    masks below, whose boxes become tight again; instances that are nearly hidden are ignored, those
    without a mask once too little of their box is left. Boxes without a mask stay as they were: how
    far their object reaches below is not known.
    """
    candidates = np.flatnonzero(source.masked)
    if not len(candidates):
        return onto
    taken = candidates[rng.random(len(candidates)) < 0.5]
    taken = taken if len(taken) else rng.choice(candidates, 1)
    height, width = onto.image.shape[:2]
    y, x = _offset(source.masks[taken].max(axis=0), (height, width), rng)
    target, origin = _overlap((height, width), source.image.shape[:2], y, x)
    moved = np.zeros((len(taken), height, width), dtype=np.uint8)
    moved[:, *target] = source.masks[taken][:, *origin]
    seen = moved.sum(axis=(1, 2)) >= np.maximum(_LEAST_AREA, _LEAST_LEFT * source.masks[taken].sum((1, 2)))
    taken, moved = taken[seen], moved[seen]
    if not len(taken):
        return onto

    cover = moved.any(axis=0)
    image = onto.image.copy()
    image[target][cover[target]] = source.image[origin][cover[target]]
    boxes, kept, masks = onto.boxes.copy(), [], onto.masks * ~cover
    for i, (mask, before) in enumerate(zip(masks, onto.masks, strict=True)):
        if onto.masked[i]:
            hidden = mask.sum() < _LEAST_LEFT * before.sum()
            if mask.sum() < before.sum():
                boxes[i] = tight_box(mask)
        else:
            x0, y0, x1, y1 = boxes[i].round().astype(int)
            hidden = cover[y0:y1, x0:x1].mean() > 1 - _LEAST_LEFT if y1 > y0 and x1 > x0 else True
        if not hidden:
            kept.append(i)
    below = np.array(kept, dtype=np.int64)
    new = np.array([tight_box(mask) for mask in moved], dtype=np.float32)
    return InstanceSample(
        image,
        np.concatenate([boxes[below], new]),
        np.concatenate([onto.classes[below], source.classes[taken]]),
        np.concatenate([masks[below], moved]),
        np.concatenate([onto.masked[below], np.ones(len(taken), dtype=bool)]),
        np.concatenate([onto.ignored, np.delete(boxes, below, axis=0)]),
    )


def _offset(shape: Pixels, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw where the source's corner lands (y, x); the middle of what is pasted lies inside the image."""
    x0, y0, x1, y1 = tight_box(shape)
    middle_y, middle_x = int(y0 + y1) // 2, int(x0 + x1) // 2
    return int(rng.integers(size[0])) - middle_y, int(rng.integers(size[1])) - middle_x


def _overlap(
    size: tuple[int, int], other: tuple[int, ...], y: int, x: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the rows and columns that an image and another one at (y, x) of it share, in either's own pixels."""
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + other[0], size[0]), min(x + other[1], size[1])
    bottom, right = max(bottom, top), max(right, left)
    return (slice(top, bottom), slice(left, right)), (slice(top - y, bottom - y), slice(left - x, right - x))
