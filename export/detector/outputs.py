"""What a detector's graph returns, in whatever form, as boxes, scores and labels.

Shapes:  N images · K detections of an image · C classes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from export.detector.settings import DetectorInput, DetectorOutput
from model.errors import UserError

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda logits: logits,
    "sigmoid": torch.Tensor.sigmoid,
    "softmax": lambda logits: logits.softmax(-1),
}
MOST_CANDIDATES = 1000  # of an image, where each box has a logit for each class


class RawDetections(NamedTuple):
    """All detections of a batch in no order, also those that are too unsure, or of no class that counts."""

    boxes: Tensor  # [N, K, 4] x0, y0, x1, y1 in pixels of the detector's input
    scores: Tensor  # [N, K]
    labels: Tensor  # [N, K]


def raw_detections(
    found: Mapping[str, Tensor], images: int, given: DetectorInput, output: DetectorOutput
) -> RawDetections:
    """Return the detections in a graph's outputs for so many images. Raises UserError if their shapes do not fit."""
    named = {kind: found[getattr(output, kind)] for kind in output.names}
    if output.rows is not None:
        rows = _batched("rows", output.rows, named["rows"].float(), images, 6)
        boxes, scores, labels = rows[..., :4], rows[..., 4], rows[..., 5]
    else:
        boxes = _batched("boxes", str(output.boxes), named["boxes"].float(), images, 4)
        if output.logits is not None:
            logits = _batched("logits", output.logits, named["logits"].float(), images, None)
            _check_equal("boxes", boxes.shape[:2], "logits", logits.shape[:2])
            boxes, scores, labels = _best_classes(boxes, logits, output.activation)
        else:
            scores = _batched("scores", str(output.scores), named["scores"].float(), images, 0)
            labels = _batched("labels", str(output.labels), named["labels"], images, 0)
            _check_equal("boxes", boxes.shape[:2], "scores", scores.shape)
            _check_equal("boxes", boxes.shape[:2], "labels", labels.shape)
    if output.box_format == "cxcywh":
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        boxes = torch.cat([centre - half, centre + half], -1)
    if output.box_unit == "unit":
        boxes = boxes * boxes.new_tensor([given.width, given.height] * 2)
    return RawDetections(boxes, scores, labels.double().nan_to_num(-1).round().long())


def _best_classes(boxes: Tensor, logits: Tensor, activation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels of the best pairs of a box and a class, since a box may have several classes."""
    scores = _ACTIVATIONS[activation](logits)
    classes = scores.shape[-1]
    best, places = scores.flatten(1).topk(min(MOST_CANDIDATES, scores[0].numel()), 1)
    owners = torch.div(places, max(classes, 1), rounding_mode="floor")
    return boxes.gather(1, owners[..., None].expand(-1, -1, 4)), best, places % max(classes, 1)


def _batched(kind: str, name: str, value: Tensor, images: int, last: int | None) -> Tensor:
    """Return an output as [N, K] (last 0) or [N, K, last] (None: of any length)."""
    dims = 2 if last == 0 else 3
    if value.ndim == dims - 1 and images == 1:
        value = value[None]
    if value.ndim != dims or len(value) != images or (last and value.shape[-1] != last):
        wanted = [str(images), "K", *([] if last == 0 else [str(last or "classes")])]
        raise UserError(
            f"the detector's output {name!r} cannot be {kind}: it has the shape {list(value.shape)}, "
            f"where [{', '.join(wanted)}] was expected"
        )
    return value


def _check_equal(first: str, one: tuple[int, ...], second: str, other: tuple[int, ...]) -> None:
    if tuple(one) != tuple(other):
        raise UserError(
            f"the detector's outputs do not fit: {first} are of {list(one)} detections, {second} of {list(other)}"
        )
