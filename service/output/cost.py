"""What encoding an answer takes: memory at most, and seconds as usual, before it begins.

The constants are measured: `python -m bench.speed.encoding` prints them beside what encoding really takes.

Masks cost for each pixel of their boxes in the image, and for each end of a run (the number of ends follows the length
of the outlines). Label maps cost for each pixel and class, and for each end of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.masks.paste import crop_size
from service.output.limits import MAX_RUNS

if TYPE_CHECKING:
    from model.predict.instance import Instances
    from model.predict.label_map import LabelMap

_FIXED = 8e6  # bytes of tiles, bands and parts
_CELL_BYTES = 18  # of a mask, while it is pasted
_BAND_BYTES = 26  # of a value of the bands in which a label map's logits are computed
_BAND = 2**20  # values of a band, unless a row has more
_USUAL_ENDS = 6  # of a column of a mask
_MARGIN = 1.1  # ends of runs that interpolation adds to those of the mask's own columns
_MASK, _CELL, _PIXEL = 3e-4, 6e-9, 3.5e-9  # seconds
_VALUE = 5e-9  # seconds for a class at a pixel of a label map, levels below included
_LABEL = 4e-9  # seconds for a pixel of a label map whose runs are found, or that is packed


@dataclass(frozen=True)
class EncodeCost:
    """What encoding an answer takes: bytes at most, without the result that is encoded, and usual seconds of a core."""

    bytes: int
    seconds: float


@dataclass(frozen=True)
class _Rate:
    """What an end of a run takes: bytes while its mask is encoded, characters of the text, seconds."""

    bytes: float
    characters: Callable[[int, int], float]  # of an image's width and height
    seconds: float


_RATES: Mapping[str, _Rate] = MappingProxyType(
    {
        "rle": _Rate(38, lambda width, height: 2.0, 9e-8),
        "coco": _Rate(38, lambda width, height: 2.0, 9e-8),
        "rle_list": _Rate(38, lambda width, height: len(str(height)) + 1.0, 1.1e-7),
        "polygon": _Rate(56, lambda width, height: 2.4 * len(str(max(width, height))) + 2.4, 4e-7),
        "png": _Rate(0, lambda width, height: 3.0, 2e-8),
    }
)


@dataclass(frozen=True)
class MaskShape:
    """What is known of a mask before it is computed. `box` is (x0, y0, x1, y1) in image pixels."""

    box: tuple[float, float, float, float]
    side: int


@dataclass(frozen=True)
class LabelMapShape:
    """What is known of a label map before it is computed. `asked` is the height and width asked for."""

    asked: tuple[int, int]
    classes: int


def encode_forecast(format: str, task: str, result: Any, width: int, height: int) -> EncodeCost:
    """Return what encoding a finished result takes, in an image of `width` × `height` pixels.

    It looks at every mask, so it takes up to 0.5 ms for each and belongs into a thread. The bytes are 1 to 1.5 times
    what is needed if the masks are large, and never more than limits.py lets an answer take.
    """
    return _FORECASTS[task](format, result, width, height)


def shapes_forecast(format: str, masks: Iterable[MaskShape], width: int, height: int) -> EncodeCost:
    """Return what encoding masks takes before they are computed: bytes if they were noise, usual seconds.

    For what a model may detect in an image, give as many boxes of the whole image.
    """
    sizes = [(mask.side, *crop_size(mask.box, width, height)) for mask in masks]
    most = [w * (min(side, h) + 1) for side, w, h in sizes]
    usual = _masks(format, sizes, [_USUAL_ENDS * w for _, w, _ in sizes], width, height)
    return EncodeCost(_masks(format, sizes, most, width, height).bytes, usual.seconds)


def label_map_forecast(format: str, shape: LabelMapShape, width: int, height: int) -> EncodeCost:
    """Return what encoding a label map takes before it is computed: bytes if it were noise, usual seconds."""
    pixels = _pixels(format, shape.asked, width, height)
    usual = _label_map(format, shape, pixels, 20.0 * width, width, height)
    return EncodeCost(_label_map(format, shape, pixels, 2.0 * pixels, width, height).bytes, usual.seconds)


def _of_instances(format: str, result: Instances, width: int, height: int) -> EncodeCost:
    sizes, ends = [], []
    for mask in result.masks:
        columns, rows = crop_size(mask.box.tolist(), width, height)
        inside = np.pad((mask.logits >= 0).numpy(), ((1, 1), (0, 0)))
        in_a_column = _changes(inside) / mask.side
        sizes.append((mask.side, columns, rows))
        ends.append(int(columns * (2 + min(_MARGIN * in_a_column, rows + 1))))
    return _masks(format, sizes, ends, width, height)


def _of_label_map(format: str, result: LabelMap, width: int, height: int) -> EncodeCost:
    base = result.pyramid.base
    columns = result.asked[1] if format == "png" else width
    ends = columns * (2 + 2 * _MARGIN * _changes(base.argmax(0).numpy()) / base.shape[2])
    for level in result.pyramid.levels:  # a point may be a run of its own, in each of its columns
        ends += 2 * len(level.cells) * max(1.0, columns / level.size[1])
    shape = LabelMapShape(result.asked, len(base))
    return _label_map(format, shape, _pixels(format, result.asked, width, height), ends, width, height)


_FORECASTS: Mapping[str, Callable[[str, Any, int, int], EncodeCost]] = MappingProxyType(
    {"instance": _of_instances, "semantic": _of_label_map}
)


def _changes(cells: NDArray[Any]) -> int:
    """Return how often the value changes down the columns."""
    return int(np.count_nonzero(cells[1:] != cells[:-1]))


def _pixels(format: str, asked: tuple[int, int], width: int, height: int) -> int:
    return asked[0] * asked[1] if format == "png" else width * height


def _masks(
    format: str, sizes: list[tuple[int, int, int]], ends: list[int], width: int, height: int
) -> EncodeCost:
    """Return what masks take, given the side of each, its crop's width and height, and the ends of its runs."""
    rate = _RATES[format]
    largest, total = (min(count, 2 * MAX_RUNS) for count in (max(ends, default=0), sum(ends)))
    cells = max((side**2 for side, _, _ in sizes), default=0)
    text = total * rate.characters(width, height)
    most = (
        _FIXED + _CELL_BYTES * cells + text + max(largest * rate.bytes, text)
    )  # the text is put together at last
    pixels = sum(w * h for _, w, h in sizes)
    seconds = len(sizes) * _MASK + sum(side**2 for side, _, _ in sizes) * _CELL
    seconds += pixels * _PIXEL + total * rate.seconds
    return EncodeCost(int(most), seconds)


def _label_map(
    format: str, shape: LabelMapShape, pixels: int, ends: float, width: int, height: int
) -> EncodeCost:
    rate = _RATES[format]
    ends = min(ends, 2.0 * (pixels if format == "png" else min(pixels, MAX_RUNS)))
    columns = shape.asked[1] if format == "png" else width
    text = 2 * ends * rate.characters(width, height)
    held = 0 if format == "png" else pixels
    band = max(_BAND, shape.classes * columns)
    seconds = pixels * (shape.classes * _VALUE + _LABEL) + ends * rate.seconds
    return EncodeCost(int(_FIXED + held + band * _BAND_BYTES + ends * rate.bytes + text), seconds)
