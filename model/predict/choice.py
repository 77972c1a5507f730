"""Which regions of a coarse pass a request asks for, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from model.predict.detection import BoxDetector
from model.predict.predictor import Prepared


class FoundBoxes(NamedTuple):
    """What a coarse pass says about all regions, on the host (see `InstanceCoarse`)."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    batch: Tensor


def chosen_regions(
    coarse: FoundBoxes,
    index: int,
    prepared: Prepared,
    score: float,
    classes: frozenset[int] | None,
    most: int,
) -> Tensor:
    """Return the indices [N] of the wanted regions of image `index`.

    They are its given boxes, or else the `most` best detections with at least this score and one of these classes.
    Boxes that a detector found were chosen before the coarse pass.
    """
    mine = (coarse.batch == index).nonzero()[:, 0]  # detections, then given boxes
    if prepared.given is not None:
        return mine[len(mine) - prepared.given :]
    mine = mine[coarse.scores[mine] >= score]
    if classes is not None:
        allowed = torch.tensor(sorted(classes), dtype=torch.int64)
        mine = mine[torch.isin(coarse.classes[mine], allowed)]
    best_first = coarse.scores[mine].argsort(descending=True, stable=True)
    return mine[best_first[:most]]


def given_boxes(batch: Sequence[Prepared], *, one_class: bool) -> dict[str, Tensor]:
    """Return the inputs of a coarse pass that name the boxes to segment, which requests bring or a detector found.

    With `one_class` the mask head has one class, whatever the category.
    """
    boxes, owners, classes = [torch.zeros(0, 4)], [], []
    for i, image in enumerate(batch):
        for prompt in image.prompts or ():
            boxes.append(image.to_network(torch.tensor([prompt.box], dtype=torch.float32)))
            owners.append(i)
            classes.append(0 if one_class else -1 if prompt.category is None else prompt.category)
        if image.detected is not None:
            boxes.append(image.detected.boxes)
            owners += [i] * len(image.detected)
            classes += [0] * len(image.detected)
    return {
        "prompts": torch.cat(boxes),
        "prompt_batch": torch.tensor(owners, dtype=torch.int64),
        "prompt_class": torch.tensor(classes, dtype=torch.int64),
    }


def with_detections(detector: BoxDetector, batch: Sequence[Prepared]) -> list[Prepared]:
    """Return the images with the boxes that a detector finds in those that bring none, as far as they are asked for."""
    images = list(batch)
    places = [i for i, image in enumerate(images) if image.prompts is None]
    found = detector([images[i].pixels for i in places]) if places else []
    for i, boxes in zip(places, found, strict=True):
        images[i] = replace(images[i], detected=boxes.chosen(images[i].wanted))
    return images


def labels(
    coarse: FoundBoxes, chosen: Tensor, prepared: Prepared, unnamed: int | None
) -> tuple[list[int], list[float]]:
    """Return the category and the score of each chosen region.

    For boxes that a detector found, both are the detector's. If `unnamed` is given, the network's classes are not
    categories: a given box has the category that it names, or else `unnamed`.
    """
    if prepared.detected is not None:
        return prepared.detected.classes.tolist(), prepared.detected.scores.tolist()
    scores = coarse.scores[chosen].tolist()
    if unnamed is not None and prepared.prompts is not None:
        return [unnamed if p.category is None else p.category for p in prepared.prompts], scores
    return coarse.classes[chosen].tolist(), scores
