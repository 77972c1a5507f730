"""Pictures of the same instances by several heads: contours over enlarged parts of photos."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from bench.paper.heads.detector import Detector, Seen, coarse_pass, masks
from bench.paper.heads.variants import BIASED, COARSE, CONV, LABELS, Head
from model.data.images import read_rgb
from model.errors import UserError
from model.masks.paste import paste_soft
from model.networks.box_head import Detections
from model.predict.instance import InstanceOptions, Region

SHOWN = (COARSE, CONV, BIASED)
INCHES, DPI = 2.6, 110  # of one crop's longer side
COLOURS = 256  # of the palette
MARGIN = 0.05  # around an instance that is shown whole, of its sides

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Window:
    """A part of a picture, (x0, y0, x1, y1) in its pixels. None: its best instance, whole."""

    picture: Path
    box: Box | None = None


WINDOWS = (
    Window(Path("examples/astronaut.jpg"), (135, 0, 315, 180)),  # hair
    Window(Path("examples/astronaut.jpg"), (15, 150, 195, 330)),  # collar, shoulder
    Window(Path("examples/grace_hopper.jpg"), (130, 10, 390, 270)),  # hat, face
    Window(Path("examples/grace_hopper.jpg"), (290, 230, 490, 430)),  # neck, collar, shoulder
)


def parse(text: str) -> Window:
    """Read "picture" or "picture@x0,y0,x1,y1". Raises UserError."""
    name, at, numbers = text.rpartition("@")
    if not at:
        return Window(Path(text))
    try:
        x0, y0, x1, y1 = map(float, numbers.split(","))
    except ValueError:
        raise UserError(f"expected picture@x0,y0,x1,y1, got {text!r}") from None
    if not (x0 < x1 and y0 < y1):
        raise UserError(f"{text!r}: the window is empty")
    return Window(Path(name), (x0, y0, x1, y1))


@dataclass(frozen=True)
class Contoured:
    """One crop: the picture, and for each head the probability of foreground at every pixel."""

    image: NDArray[np.uint8]  # [H, W, 3]
    box: Box  # the part that is shown
    probability: dict[str, NDArray[np.float32]]  # each [H, W]


def contoured(detector: Detector, heads: Mapping[str, Head], window: Window, score: float) -> Contoured:
    """Return the instance that fills most of the window (None: the best one), by every shown head at native resolution.

    Raises UserError if nothing is found there, OSError if the picture cannot be read.
    """
    image = read_rgb(window.picture)
    seen = detector.see(image)
    detections = detector.detect(seen)
    options = InstanceOptions(score=score)
    regions = {name: _regions(detector, heads[name], seen, detections, options) for name in SHOWN}
    boxes = [tuple(region.box.tolist()) for region in regions[COARSE]]
    if not boxes or (window.box and max(_shared(box, window.box) for box in boxes) <= 0):
        raise UserError(f"{window.picture}: no instance above score {score:g} there")
    place = window.box
    chosen = 0 if place is None else max(range(len(boxes)), key=lambda i: _shared(boxes[i], place))
    height, width = image.shape[:2]
    shown = place or _grown(boxes[chosen], width, height)
    return Contoured(image, shown, {n: _pasted(found[chosen], width, height) for n, found in regions.items()})


def _regions(
    detector: Detector, head: Head, seen: Seen, found: Detections, options: InstanceOptions
) -> list[Region]:
    return masks(detector.predictor, head, seen, coarse_pass(head, seen, found), options).regions


def _pasted(region: Region, width: int, height: int) -> NDArray[np.float32]:
    soft = paste_soft(region.render.probability().numpy(), region.box.tolist(), width, height)
    whole = np.zeros((height, width), np.float32)
    rows, columns = soft.probability.shape
    whole[soft.top : soft.top + rows, soft.left : soft.left + columns] = soft.probability
    return whole


def _shared(box: Sequence[float], window: Box) -> float:
    """Return the area that two boxes share."""
    width = min(box[2], window[2]) - max(box[0], window[0])
    height = min(box[3], window[3]) - max(box[1], window[1])
    return max(width, 0) * max(height, 0)


def _grown(box: Sequence[float], width: int, height: int) -> Box:
    x, y = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    return max(box[0] - x, 0), max(box[1] - y, 0), min(box[2] + x, width), min(box[3] + y, height)


def draw(crops: Sequence[Contoured], path: Path) -> None:
    """Draw a PNG with a row for each crop and a column for each head."""
    figure = Figure(figsize=(INCHES * len(SHOWN), INCHES * len(crops)), layout="constrained")
    for row, crop in enumerate(crops):
        for column, name in enumerate(SHOWN):
            axis = figure.add_subplot(len(crops), len(SHOWN), row * len(SHOWN) + column + 1)
            height, width = crop.image.shape[:2]
            # A pixel's centre lies half a pixel from its corner, and boxes are measured from corners.
            axis.imshow(crop.image, extent=(0, width, height, 0), interpolation="bicubic")
            x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
            for colour, thickness in (("black", 2.4), ("#ffe04d", 1.2)):
                axis.contour(x, y, crop.probability[name], levels=[0.5], colors=colour, linewidths=thickness)
            x0, y0, x1, y1 = crop.box
            axis.set(xlim=(x0, x1), ylim=(y1, y0), xticks=[], yticks=[])
            if row == 0:
                axis.set_title(LABELS[name], fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A palette makes the file a third as large, at no visible cost.
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(path, optimize=True)
