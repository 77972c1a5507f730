"""Windows of the label map of a kept picture.

A label map is a function of real points, too: the point head reads the fine map and the coarse logits between their
cells. A window begins with the coarse logits at its own points, and is subdivided from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.pointrend.features import FineMap
from model.pointrend.label_map import LabelMapRender
from model.predict.kept.window import WindowOptions
from model.predict.label_map import LabelMapPrediction


@dataclass(frozen=True, eq=False)
class KeptLabelMap:
    """What the label map of one picture is rendered from, with maps of its own."""

    coarse: Tensor  # [K, h, w] logits of the base model, padding included
    fine: FineMap
    stride: int  # of `coarse`, in network-input pixels
    extent: tuple[float, float]  # height and width of the picture in the network's input
    width: int  # of the picture
    height: int

    @property
    def features(self) -> None:
        """Nothing: label maps have no boxes."""

    def span(self, options: WindowOptions) -> tuple[float, float]:
        """Return the height and width of a window in network-input pixels."""
        (x0, y0, x1, y1), (height, width) = options.window, self.extent
        return (y1 - y0) * height / self.height, (x1 - x0) * width / self.width

    def window(self, options: WindowOptions) -> LabelMapPrediction:
        """Return a window, yet to be rendered."""
        x0, y0 = options.window[:2]
        corner = x0 * self.extent[1] / self.width, y0 * self.extent[0] / self.height
        asked = options.height, options.width
        render = LabelMapRender(
            self.coarse, self.fine, self.stride, self.span(options), asked, options.points, corner=corner
        )
        return LabelMapPrediction(render, asked, None, options.width, options.height)


def label_map_bytes(prediction: LabelMapPrediction) -> int:
    """Return the bytes of what `keep_label_map` copies."""
    return prediction.render.coarse.nbytes + _fine_rows(prediction).nbytes


@torch.inference_mode()
def keep_label_map(prediction: LabelMapPrediction) -> KeptLabelMap:
    """Return copies of what a label map is rendered from, on the same device. The model has a point head."""
    render, fine = prediction.render, prediction.render.fine
    assert fine is not None
    own = fine._replace(table=_fine_rows(prediction).clone(), first=0)
    return KeptLabelMap(
        render.coarse.clone(), own, render.stride, render.extent, prediction.width, prediction.height
    )


def _fine_rows(prediction: LabelMapPrediction) -> Tensor:
    """Return the rows [h·w, D] of the fine table that are the picture's."""
    fine = prediction.render.fine
    assert fine is not None
    return fine.table.flatten(0, -2)[fine.first : fine.first + fine.height * fine.width]
