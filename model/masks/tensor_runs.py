"""The runs of many masks at once, by tensor operations on the device that holds the masks.

Every pixel of every crop is a place of one long sequence, so the number of operations does not grow with the number of
masks. Only the ends of the runs come down to the host. Results are those of `runs.pasted`, place by place.

Shapes:  m masks · n places of a part · s side of a mask
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.masks.axis import Axis, axis
from model.masks.paste import THRESHOLD
from model.masks.runs import Runs, TooDetailed

PLACES = 1 << 24  # of a part; it takes some 100 bytes of temporaries for each


@dataclass(frozen=True)
class Crop:
    """The crop of one mask that is yet to be computed, or some whole columns of it."""

    x: Axis
    y: Axis
    first: int  # of the mask's probabilities in the flat tensor of all masks
    column: int = 0  # the crop's first column that is meant
    columns: int = 0

    @property
    def places(self) -> int:
        """The number of places: the pixels, and one after each column, so that no run goes on into the next."""
        return self.columns * (self.y.size + 1)


class Ends(NamedTuple):
    """Where runs begin, and where they have ended, in turns."""

    total: Tensor  # [] how many there are; more than `places` holds if they are too many
    places: Tensor  # [k] int32 ascending; only the first `total` are meant


def runs_of_masks(
    probabilities: Tensor,
    sides: Sequence[int],
    boxes: Sequence[Sequence[float]],
    width: int,
    height: int,
    most: int,
) -> list[Runs]:
    """Return the runs of masks in an image of `width` × `height` pixels.

    probabilities: [Σ s²], the masks one after another. boxes: (x0, y0, x1, y1) in image pixels. Raise TooDetailed if
    all masks together have more than `most` runs. Synchronises with the device twice for each part of PLACES places.
    """
    crops, first = [], 0
    for side, (x0, y0, x1, y1) in zip(sides, boxes, strict=True):
        x, y = axis(side, x0, x1, width), axis(side, y0, y1, height)
        crops.append(Crop(x, y, first, columns=x.size))
        first += side**2
    found = [np.empty(0, np.int64)]
    start = count = 0
    for part in parts(crops):
        ends = boundaries(probabilities, part, 2 * (most - count // 2) + 1)
        number = int(ends.total)
        if (count := count + number) > 2 * most:
            raise TooDetailed(f"masks have more than {most} runs")
        found.append(ends.places[:number].cpu().numpy().astype(np.int64) + start)
        start += sum(crop.places for crop in part)
    return list(_split(np.concatenate(found), crops))


def parts(crops: Sequence[Crop]) -> Iterator[list[Crop]]:
    """Yield the crops in parts of at most PLACES places, as far as whole columns allow."""
    part: list[Crop] = []
    room = PLACES
    for crop in crops:
        column = 0
        while column < crop.columns:
            own = replace(crop, column=column, columns=crop.columns - column)
            fitting = min(own.columns, max(room // (crop.y.size + 1), 0 if part else 1))
            if fitting:
                part.append(replace(own, columns=fitting))
                room -= part[-1].places
                column += fitting
            if column < crop.columns:
                yield part
                part, room = [], PLACES
    if part:
        yield part


def boundaries(probabilities: Tensor, crops: Sequence[Crop], most: int) -> Ends:
    """Return at most `most` ends of the runs of some crops, whose places follow one another. Never synchronises."""
    device = probabilities.device
    total = sum(crop.places for crop in crops)
    whole = [(c.places, c.column, c.y.size, c.x.start, c.y.start, c.x.side, c.first) for c in crops]
    reals = [(c.x.low, _length(c.x), c.y.low, _length(c.y)) for c in crops]
    numbers = torch.tensor(whole).T.to(device, non_blocking=True)
    counts, column, size, left, top, side, first = numbers
    owner = torch.repeat_interleave(counts, output_size=total)
    place = torch.arange(total, device=device) - (counts.cumsum(0) - counts)[owner]
    rows = size[owner]
    x = place // (rows + 1)
    y = place - x * (rows + 1)
    low_x, length_x, low_y, length_y = torch.tensor(np.array(reals, np.float32)).T.to(
        device, non_blocking=True
    )
    sides = side[owner]
    across = _position(x + (column + left)[owner], low_x[owner], length_x[owner], sides)
    down = _position(y + top[owner], low_y[owner], length_y[owner], sides)
    inside = (_value(probabilities, across, down, first[owner], sides) >= float(THRESHOLD)) & (y < rows)
    changes = inside.clone()
    changes[1:] ^= inside[:-1]
    found = torch.nonzero_static(changes, size=min(most, total), fill_value=total)[:, 0]
    return Ends(changes.sum(), found.int())


def _length(of: Axis) -> np.float32:
    return max(of.high - of.low, np.finfo(np.float32).tiny)


def _position(pixel: Tensor, low: Tensor, length: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cell at or before each pixel's centre, and the weight of the next cell: as `Axis.places` does."""
    grid = (pixel.float() + 0.5 - low) / length * 2 - 1
    position = ((grid + 1) * side - 1) / 2 + 1
    cell = torch.minimum(position.floor().long().clamp(min=0), side)
    return cell, (position - cell.float()).clamp(0, 1)


def _value(
    probabilities: Tensor, x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], first: Tensor, side: Tensor
) -> Tensor:
    """Return the interpolated probability of each pixel, along y first, as in paste.py. Around a mask all is 0."""

    def cell(right: int, below: int) -> Tensor:
        column, row = x[0] + (right - 1), y[0] + (below - 1)
        within = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        return torch.where(within, probabilities[torch.where(within, first + row * side + column, 0)], 0.0)

    above, under = cell(0, 0), cell(1, 0)
    left = above + y[1] * (cell(0, 1) - above)
    right = under + y[1] * (cell(1, 1) - under)
    return left + x[1] * (right - left)


def _split(ends: NDArray[np.int64], crops: Sequence[Crop]) -> Iterator[Runs]:
    """Yield the runs of each crop, given the ends of all in one sequence of places."""
    starts = np.cumsum([0, *(crop.places for crop in crops)])
    bounds = np.searchsorted(ends, starts)
    for crop, start, begin, end in zip(crops, starts, bounds, bounds[1:], strict=False):
        own = ends[begin:end] - start
        yield Runs(crop.x.start, crop.y.start, crop.x.size, crop.y.size, own)
