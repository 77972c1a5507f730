"""The finished levels of a label map, and the logits and labels that they stand for.

Shapes:  K classes · h, w size of a level · P points of a level
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.pointrend.label_map_levels import Size
from model.pointrend.label_map_search import Level

# Values of a band of rows. Its temporaries stay small, and in a CPU's caches. An accelerator takes a level at once if
# it can, because between two bands it is waited for; its temporaries are some 2 GB.
BAND, ACCELERATOR_BAND = 2**20, 2**27


@dataclass
class Pyramid:
    """The coarse prediction of an image, and what each finished level changed. Rows are computed on demand."""

    base: Tensor  # [K, h, w] coarse logits of the image, without padding
    levels: list[Level] = field(default_factory=list)

    @property
    def size(self) -> Size:
        """The size of the finest finished level; at first the coarse prediction's own."""
        return self._size(len(self.levels))

    def band(self, width: int) -> int:
        """Return how many rows of a map of this width are treated at a time."""
        values = BAND if self.base.device.type == "cpu" else ACCELERATOR_BAND
        return max(values // (len(self.base) * width), 1)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the logits [K, stop - start, w] of some rows of the finest finished level."""
        return self._rows(len(self.levels), start, stop)

    def resized(self, size: Size, start: int, stop: int) -> Tensor:
        """Return rows of the finest finished level after bilinear interpolation to `size`: [K, stop - start, w]."""
        return self._resized(len(self.levels), size, start, stop)

    def labels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return the best class of each cell [height, width], with logits interpolated where the size differs."""
        return np.concatenate(list(self.bands(height, width)))

    def bands(self, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
        """Return an iterator over the rows of `labels` in bands, each computed when it is asked for."""
        rows = self.band(width)
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            with torch.inference_mode():
                logits = self.resized((height, width), start, stop)
                labels = logits.max(0).indices  # max takes a third of argmax's time
            yield labels.to(torch.uint8).cpu().numpy()

    def _size(self, depth: int) -> Size:
        return self.levels[depth - 1].size if depth else (self.base.shape[1], self.base.shape[2])

    def _rows(self, depth: int, start: int, stop: int) -> Tensor:
        """Return rows of the level at `depth`; depth 0 is the coarse prediction."""
        if depth == 0:
            return self.base[:, start:stop]
        level = self.levels[depth - 1]
        height, width = level.size
        logits = self._resized(depth - 1, level.size, start, stop)
        first, last = 0, len(level.cells)
        if stop - start < height:
            ends = torch.tensor([start * width, stop * width], device=level.cells.device)
            first, last = torch.searchsorted(level.cells, ends).tolist()
        logits.flatten(1)[:, level.cells[first:last] - start * width] = level.logits[first:last].T
        return logits

    def _resized(self, depth: int, size: Size, start: int, stop: int) -> Tensor:
        height, width = self._size(depth)
        if (height, width) == size:
            return self._rows(depth, start, stop)
        # By numpy, because these are known on the host, and an accelerator need not be waited for.
        y = (np.arange(start, stop, dtype=np.float32) + 0.5) * np.float32(height / size[0]) - 0.5
        y = y.clip(0, height - 1)
        top = y.astype(np.int64)
        bottom = (top + 1).clip(max=height - 1)
        first = int(top[0])
        band = self._rows(depth, first, int(bottom[-1]) + 1)
        above, below, share = (
            torch.from_numpy(each).to(band.device)
            for each in (top - first, bottom - first, y - top.astype(np.float32))
        )
        between = torch.lerp(band.index_select(1, above), band.index_select(1, below), share[:, None])
        wide = F.interpolate(between.view(1, -1, width), size=size[1], mode="linear", align_corners=False)
        return wide.view(len(band), stop - start, size[1])
