"""Windows of the masks of a kept picture, rendered from its maps at any resolution.

A mask is a function of real points of its box: the point head reads a continuous fine map and a continuous coarse mask.
So a window of a kept picture is rendered from that function itself. Nothing is enlarged, and no network runs again.

Shapes:  N instances · h, w rows and columns of a window's part that lies in the instance's box
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.masks.axis import axis
from model.masks.paste import Crop
from model.pointrend.instance import InstanceRender
from model.pointrend.regions import Source, joined
from model.predict.kept.boxes import Features
from model.predict.kept.window import WindowOptions

FOREGROUND = 128  # the least grey level of a foreground pixel: that of probability 0.5


@dataclass(frozen=True, eq=False)
class KeptInstance:
    """One instance of a kept picture."""

    category: int  # index
    score: float
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in picture pixels
    source: Source


@dataclass(frozen=True, eq=False)
class KeptInstances:
    """The instances of one picture, with maps of their own: no map of the whole batch is kept."""

    instances: tuple[KeptInstance, ...]
    width: int  # of the picture
    height: int
    features: Features | None = None  # None: no further boxes can be segmented

    def window(self, options: WindowOptions) -> WindowPrediction:
        """Return a window, yet to be rendered. It may reach beyond the picture, where no mask is."""
        assert options.instance is not None
        found = self.instances[options.instance]
        x0, y0, x1, y1 = options.window
        across, down = (
            (x1 - x0) / options.width,
            (y1 - y0) / options.height,
        )  # picture pixels of a window's pixel
        left, top, right, bottom = found.box
        # The part of the window whose pixels have their centres in the box: beyond it there is no mask.
        columns = axis(1, (left - x0) / across, (right - x0) / across, options.width)
        rows = axis(1, (top - y0) / down, (bottom - y0) / down, options.height)
        part = WindowPart(columns.start, rows.start, columns.size, rows.size)
        if not columns.size or not rows.size:
            return WindowPrediction(found, options, part, ())
        inner = (
            (x0 + columns.start * across - left) / (right - left),
            (y0 + rows.start * down - top) / (bottom - top),
            (x0 + (columns.start + columns.size) * across - left) / (right - left),
            (y0 + (rows.start + rows.size) * down - top) / (bottom - top),
        )
        render = InstanceRender(
            found.source._replace(window=inner),
            found.category,
            max(rows.size, columns.size),
            options.points,
            frame=(rows.size, columns.size),
        )
        return WindowPrediction(found, options, part, (render,))


@dataclass(frozen=True)
class WindowPart:
    """The pixels of a window that lie in the instance's box."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class WindowPrediction:
    """A window of one mask, whose render may still have to run (see `Prediction`)."""

    instance: KeptInstance
    options: WindowOptions
    part: WindowPart
    renders: Sequence[InstanceRender]  # one; none if no pixel of the window lies in the instance's box

    def finish(self) -> WindowMask:
        """Return the finest finished level, enlarged if a deadline came before the last one.

        Raise ValueError if no level is finished.
        """
        found = np.zeros((self.part.height, self.part.width), np.uint8)
        side, truncated = max(self.options.width, self.options.height), False
        for render in self.renders:
            if render.logits is None:
                raise ValueError("nothing is rendered yet")
            found, side, truncated = _grey(render.logits, found.shape), render.level, render.truncated
        return WindowMask(self.instance, self.options, self.part, found, side, truncated)

    def snapshot(self) -> WindowPrediction:
        """Return a prediction that stays as this one is now. A finished level is never written to afterwards."""
        return replace(self, renders=tuple(replace(render) for render in self.renders))


@dataclass(frozen=True, eq=False)
class WindowMask:
    """A rendered window of one mask. It is a result of one part, itself."""

    instance: KeptInstance
    options: WindowOptions
    part: WindowPart
    inner: NDArray[np.uint8]  # [h, w] probabilities from 0 to 255, of the pixels in the instance's box
    side: int  # rows or columns, whichever are more, that were reached
    truncated: bool

    @property
    def parts(self) -> tuple[WindowMask]:
        return (self,)

    @property
    def nbytes(self) -> int:
        return self.inner.nbytes

    @property
    def grey(self) -> NDArray[np.uint8]:
        """The probability of each pixel of the window as 0–255, [height, width]; 0 outside of the instance's box."""
        whole = np.zeros((self.options.height, self.options.width), np.uint8)
        part = self.part
        whole[part.top : part.top + part.height, part.left : part.left + part.width] = self.inner
        return whole

    @property
    def crop(self) -> Crop:
        """The foreground of the window, in the part of it that lies in the instance's box."""
        bitmap = np.asfortranarray(self.inner >= FOREGROUND)
        return Crop(self.part.left, self.part.top, bitmap)


def bytes_of(sources: Sequence[Source], features: Features | None = None) -> int:
    """Return the bytes of what `keep` copies for these sources, which are of one image, and for its features."""
    rows = sum(sum(tensor[:1].nbytes for tensor in source.maps) for source in sources)
    if features is not None:
        return rows + features.nbytes
    if not sources:
        return 0
    fine = sources[0].fine
    return rows + fine.height * fine.width * fine.table.shape[-1] * fine.table.element_size()


@torch.inference_mode()
def keep(
    instances: Sequence[KeptInstance], width: int, height: int, features: Features | None = None
) -> KeptInstances:
    """Return a picture of this size with copies of what its instances are rendered from, on the same device.

    With `features`, which are copied, too, boxes of it can be segmented.
    """
    own = joined([instance.source for instance in instances]) if instances else []
    kept = tuple(replace(found, source=source) for found, source in zip(instances, own, strict=True))
    if features is not None:
        features = features.copied(own[0].fine.table if own else None)
    return KeptInstances(kept, width, height, features)


@torch.inference_mode()
def _grey(logits: Tensor, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return logits [h, w] as probabilities from 0 to 255 on the host, interpolated to `size` if they have another."""
    if logits.shape != size:
        logits = F.interpolate(logits[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    return (255 * logits.sigmoid()).round().to(torch.uint8).cpu().numpy()
