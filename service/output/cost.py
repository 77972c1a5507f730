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

from model.masks.decontaminate import RADIUS
from model.masks.paste import crop_size
from model.masks.transpose import row_ends
from service.output.limits import MAX_EDGE, MAX_EDITED_RUNS, MAX_RUNS
from service.output.pictures import cutout

if TYPE_CHECKING:
    from model.predict.instance import Instances, Mask
    from model.predict.label_map import LabelMap

_FIXED = 8e6  # bytes of tiles, bands and parts
_CELL_BYTES = 18  # of a mask, while it is pasted
_BAND_BYTES = 26  # of a value of the bands in which a label map's logits are computed
_BAND = 2**20  # values of a band, unless a row has more
_USUAL_ENDS = 6  # of a column of a mask
_MARGIN = 1.1  # ends of runs that interpolation adds to those of the mask's own columns
_MASK, _CELL, _PIXEL = 3e-4, 6e-9, 3.5e-9  # seconds
_MAP = "geojson in map coordinates"
_LISTED_BYTES = 24  # of an evaluated cell that is listed: four bytes, and six characters, some of them copied
_LISTED = 4e-8  # seconds
_VALUE = 5e-9  # seconds for a class at a pixel of a label map, levels below included
_LABEL = 4e-9  # seconds for a pixel of a label map whose runs are found, or that is packed
# Of a cut-out:
_IMAGE_BYTES = 3  # of a pixel of the image
# Of a pixel that is not transparent, if it is noise, with what the file's buffer has in reserve.
_PACKED_BYTES = 4.6
_BAND_PIXEL_BYTES = 40  # of a pixel of a band
_EDGE_PIXELS = 3  # at the edge for each end of a run
_USUAL_SHARE = 0.5  # of a box that its mask covers
_SAMPLED, _EDGE, _OPAQUE, _TRANSPARENT = 1.2e-8, 1.8e-6, 2.2e-7, 1.2e-8  # seconds for a pixel

_WINDOW_BYTES, _WINDOW = 24, 2e-8  # of a pixel of a window


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
    rows: bool = False  # whether the ends of runs along the rows count as well as those down the columns
    whole_seconds: float = 0.0  # for each pixel of the image, and each mask
    whole_characters: float = 0.0
    most_runs: int = MAX_RUNS
    cut_out: bool = False  # whether the pixels of the image are shown through the masks


_RATES: Mapping[str, _Rate] = MappingProxyType(
    {
        "rle": _Rate(38, lambda width, height: 2.0, 9e-8),
        "coco": _Rate(38, lambda width, height: 2.0, 9e-8),
        "rle_list": _Rate(38, lambda width, height: len(str(height)) + 1.0, 1.1e-7),
        "polygon": _Rate(56, lambda width, height: 2.4 * len(str(max(width, height))) + 2.4, 4e-7),
        "png": _Rate(0, lambda width, height: 3.0, 2e-8),
        "cutout": _Rate(0, lambda width, height: 0.0, 0.0, cut_out=True),
        "yolo": _Rate(65, lambda width, height: 2.3 * max(9, len(str(max(width, height))) + 5), 5.2e-7),
        "geojson": _Rate(60, lambda width, height: 2.4 * len(str(max(width, height))) + 3.4, 5e-7),
        _MAP: _Rate(75, lambda width, height: 30.0, 6e-7),
        "label_studio": _Rate(18, lambda width, height: 5.5, 1.5e-7, rows=True),
        "label_studio_polygon": _Rate(80, lambda width, height: 26.0, 1e-5, most_runs=MAX_EDITED_RUNS),
        "cvat": _Rate(30, lambda width, height: 1.9, 6e-8, rows=True),
        "hugging_face": _Rate(
            28, lambda width, height: 3.0, 1e-7, rows=True, whole_seconds=2.5e-9, whole_characters=0.008
        ),
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


def encode_forecast(
    format: str, task: str, result: Any, width: int, height: int, *, placed: bool = False
) -> EncodeCost:
    """Return what encoding a finished result takes, in an image of `width` × `height` pixels, `placed` on a map or not.

    It looks at every mask, so it takes up to 0.5 ms for each and belongs into a thread. The bytes are 1 to 1.5 times
    what is needed if the masks are large, and never more than limits.py lets an answer take.
    """
    return _FORECASTS[task](_MAP if placed else format, result, width, height)


def shapes_forecast(format: str, masks: Iterable[MaskShape], width: int, height: int) -> EncodeCost:
    """Return what encoding masks takes before they are computed: bytes if they were noise, usual seconds.

    For what a model may detect in an image, give as many boxes of the whole image.
    """
    sizes = [(mask.side, *crop_size(mask.box, width, height)) for mask in masks]
    rows = _RATES[format].rows
    most = [w * (min(side, h) + 1) + rows * h * (min(side, w) + 1) for side, w, h in sizes]
    usual_ends = [_USUAL_ENDS * (w + rows * h) for _, w, h in sizes]
    usual = _masks(format, sizes, usual_ends, width, height)
    noise = _masks(format, sizes, most, width, height)
    if _RATES[format].cut_out:
        pixels = sum(w * h for _, w, h in sizes)
        usual = _cut_out(usual, sum(usual_ends), _USUAL_SHARE * pixels, pixels, width, height)
        noise = _cut_out(noise, sum(most), pixels, pixels, width, height)
    return EncodeCost(noise.bytes, usual.seconds)


def label_map_forecast(format: str, shape: LabelMapShape, width: int, height: int) -> EncodeCost:
    """Return what encoding a label map takes before it is computed: bytes if it were noise, usual seconds."""
    pixels = _pixels(format, shape.asked, width, height)
    rows = _RATES[format].rows
    usual = _label_map(format, shape, pixels, 20.0 * (width + rows * height), width, height)
    most = 2.0 * pixels * (1 + rows)
    return EncodeCost(_label_map(format, shape, pixels, most, width, height).bytes, usual.seconds)


def _of_instances(format: str, result: Instances, width: int, height: int) -> EncodeCost:
    sizes, ends = [], []
    listed = sum(mask.explanation.listed for mask in result.masks if mask.explanation is not None)
    for mask in result.masks:
        columns, rows = crop_size(mask.box.tolist(), width, height)
        in_a_column = mask.changes / mask.side
        sizes.append((mask.side, columns, rows))
        ends.append(int(columns * (2 + min(_MARGIN * in_a_column, rows + 1))))
        if _RATES[format].rows:
            in_a_row = _changes_across(mask) / mask.side
            ends[-1] += int(rows * (2 + min(_MARGIN * in_a_row, columns + 1)))
    cost = _masks(format, sizes, ends, width, height)
    if _RATES[format].cut_out:
        inside = sum(
            int((mask.logits >= 0).sum()) / mask.side**2 * w * h
            for mask, (_, w, h) in zip(result.masks, sizes, strict=True)
        )
        cost = _cut_out(cost, sum(ends), inside, sum(w * h for _, w, h in sizes), width, height)
    return EncodeCost(cost.bytes + _LISTED_BYTES * listed, cost.seconds + _LISTED * listed)


def _of_label_map(format: str, result: LabelMap, width: int, height: int) -> EncodeCost:
    base = result.pyramid.base
    columns = result.asked[1] if format == "png" else width
    ends = columns * (2 + 2 * _MARGIN * _changes(base.argmax(0).cpu().numpy()) / base.shape[2])
    for level in result.pyramid.levels:  # a point may be a run of its own, in each of its columns
        ends += 2 * len(level.cells) * max(1.0, columns / level.size[1])
    if _RATES[format].rows:
        ends += height * (2 + 2 * _MARGIN * _changes(base.argmax(0).cpu().numpy().T) / base.shape[1])
        ends += sum(2 * len(each.cells) * max(1.0, height / each.size[0]) for each in result.pyramid.levels)
    shape = LabelMapShape(result.asked, len(base))
    return _label_map(format, shape, _pixels(format, result.asked, width, height), ends, width, height)


def window_forecast(width: int, height: int) -> EncodeCost:
    """Return what encoding a window of a mask takes, whatever its format."""
    pixels = width * height
    return EncodeCost(int(_FIXED + _WINDOW_BYTES * pixels), _MASK + _WINDOW * pixels)


_FORECASTS: Mapping[str, Callable[[str, Any, int, int], EncodeCost]] = MappingProxyType(
    {
        "instance": _of_instances,
        "semantic": _of_label_map,
        "label_window": _of_label_map,
        "window": lambda format, result, width, height: window_forecast(width, height),
    }
)


def _changes_across(mask: Mask) -> int:
    """Return how often a mask changes along its rows, of which it has as many as its side: usually, an even number."""
    if mask.found_runs is not None:
        return row_ends(mask.found_runs) * mask.side // max(mask.found_runs.height, 1)
    return _changes(np.pad((mask.logits >= 0).numpy(), ((0, 0), (1, 1))).T)


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
    allowed = 2 * rate.most_runs * (1 + rate.rows)
    largest, total = (min(count, allowed) for count in (max(ends, default=0), sum(ends)))
    cells = max((side**2 for side, _, _ in sizes), default=0)
    whole = len(sizes) * width * height
    text = total * rate.characters(width, height) + whole * rate.whole_characters
    # The text is put together at last, when what the runs needed is free.
    most = _FIXED + _CELL_BYTES * cells + text + max(largest * rate.bytes, text)
    pixels = sum(w * h for _, w, h in sizes)
    seconds = len(sizes) * _MASK + sum(side**2 for side, _, _ in sizes) * _CELL
    seconds += pixels * _PIXEL + total * rate.seconds + whole * rate.whole_seconds
    return EncodeCost(int(most), seconds)


def _cut_out(
    cost: EncodeCost, ends: float, inside: float, boxes: float, width: int, height: int
) -> EncodeCost:
    """Return what a cut-out takes, given what masks take in any format.

    ends: of all runs. inside: pixels in the masks. boxes: pixels in their boxes.
    """
    image = width * height
    edge = min(_EDGE_PIXELS * ends, MAX_EDGE, boxes)
    shown = min(inside + edge, boxes, image)  # a pixel is shown if a part of it is covered
    band = max(cutout.BAND, (2 * RADIUS + 1) * width)
    held = _IMAGE_BYTES * image if boxes else 0
    seconds = boxes * _SAMPLED + edge * _EDGE + shown * _OPAQUE + image * _TRANSPARENT
    taken = held + shown * _PACKED_BYTES + band * _BAND_PIXEL_BYTES
    return EncodeCost(cost.bytes + int(taken), cost.seconds + seconds)


def _label_map(
    format: str, shape: LabelMapShape, pixels: int, ends: float, width: int, height: int
) -> EncodeCost:
    rate = _RATES[format]
    ends = min(ends, 2.0 * (pixels if format == "png" else min(pixels, rate.most_runs)) * (1 + rate.rows))
    columns = shape.asked[1] if format == "png" else width
    whole = shape.classes * pixels
    text = 2 * (ends * rate.characters(width, height) + whole * rate.whole_characters)
    held = 0 if format == "png" else pixels
    band = max(_BAND, shape.classes * columns)
    seconds = pixels * (shape.classes * _VALUE + _LABEL) + ends * rate.seconds + whole * rate.whole_seconds
    return EncodeCost(int(_FIXED + held + band * _BAND_BYTES + ends * rate.bytes + text), seconds)
