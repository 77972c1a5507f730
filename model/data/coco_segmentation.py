"""The `segmentation` of a COCO annotation: polygons or run lengths, read and checked."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from model.data.augment import CompressedRle, Shape
from model.data.fields import DataError, are_finite, value, whole_numbers
from model.masks import rle

Extent = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


def read(segmentation: Any, width: int, height: int) -> Shape | None:
    """Return the shape of an annotation of an image of this size, None if it has only a box. Raises DataError.

    Polygons of fewer than three points are left out (`num_short` counts them); if no other is left, there is no shape.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        polygons = [_polygon(points, width, height) for points in segmentation]
        return tuple(polygon for polygon in polygons if not _is_short(polygon.ravel())) or None
    if isinstance(segmentation, dict):
        return _rle(segmentation, width, height)
    raise DataError(f"segmentation must be a list of polygons or an RLE, got {str(segmentation)[:80]!r}")


def num_short(segmentation: Any) -> int:
    """Return how many polygons of a segmentation that `read` has read are left out: an empty one, or a line."""
    return sum(_is_short(points) for points in segmentation) if isinstance(segmentation, list) else 0


def coco_format(segmentation: Any, shape: Shape | None) -> Any:
    """Return a segmentation that `read` has made this shape of as pycocotools takes it: polygons or compressed RLE.

    None if there is no shape, or one that covers no pixel.
    """
    if shape is None:
        return None
    if isinstance(shape, tuple):
        return [points for points in segmentation if not _is_short(points)]
    if not rle_codec.area(shape):
        return None
    return {"size": list(shape["size"]), "counts": shape["counts"].decode("ascii")}


def _is_short(points: Sized) -> bool:
    """Return whether a polygon has fewer than three points. To pycocotools four numbers would be a box."""
    return len(points) < 6


def extent(shape: Shape) -> Extent:
    """Return the least box around a shape; zeros if it is empty."""
    if isinstance(shape, tuple):
        points = np.concatenate(shape)
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x0, y0, x1, y1
    if not rle_codec.area(shape):  # of which pycocotools finds a box all the same, if it has runs of length 0
        return 0.0, 0.0, 0.0, 0.0
    x, y, w, h = rle_codec.toBbox(shape).tolist()
    return x, y, x + w, y + h


def _polygon(points: Any, width: int, height: int) -> NDArray[np.float32]:
    if not (isinstance(points, list) and are_finite(points)):
        raise DataError(
            f"polygon must be a list of finite numbers, [x0, y0, x1, y1, …], got {str(points)[:80]}"
        )
    if len(points) % 2:
        raise DataError(f"polygon must have an even number of numbers, got {len(points)}")
    polygon = np.array(points, dtype=np.float32).reshape(-1, 2)
    # A little outside happens; what rasterises them would walk all the way to a point far away.
    far = ((polygon < (-width, -height)) | (polygon > (2 * width, 2 * height))).any(axis=1)
    if far.any():
        x, y = polygon[far][0].tolist()
        raise DataError(
            f"polygon has a point at ({x:g}, {y:g}), far outside of the image of {width}×{height}"
        )
    return polygon


def _rle(segmentation: dict[str, Any], width: int, height: int) -> CompressedRle:
    given, counts = value(segmentation, "size"), value(segmentation, "counts")
    size = [height, width]
    if whole_numbers(given) != size:
        raise DataError(f"RLE is of size {str(given)[:80]}, the image of {size} (height, width)")
    runs = _run_lengths(counts) if isinstance(counts, str) else whole_numbers(counts)
    if runs is None:
        raise DataError("RLE counts must be a string or a list of integers")
    if min(runs, default=0) < 0:
        raise DataError(f"RLE counts must not be negative, got {min(runs)}")
    if sum(runs) != height * width:
        raise DataError(f"RLE counts cover {sum(runs)} pixels of {height * width}")
    if isinstance(counts, str):
        return CompressedRle(size=size, counts=counts.encode("ascii"))
    packed = rle_codec.frPyObjects({"size": size, "counts": runs}, height, width)
    return CompressedRle(size=size, counts=packed["counts"])


def _run_lengths(counts: str) -> list[int]:
    """Return the run lengths of a compressed RLE. pycocotools itself reads beyond the end of a damaged string."""
    try:
        return [int(length) for length in rle.decompress(counts)]
    except ValueError as error:
        raise DataError(f"RLE counts: {error}") from error
