"""Pseudo labels: masks for annotations that have only a box, segmented by a trained model (self-training).

A data set with many boxes and few masks then trains masks with all of them. Each box is segmented twice, in the image
and in its mirror image, and both probabilities are averaged; what the model is not sure of stays a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.coco import Annotation, CocoDataset, Record, read_image
from model.data.coco_records import Box
from model.data.fields import integer
from model.masks import rle
from model.masks.paste import paste
from model.predict.instance import InstanceOptions, InstancePrediction, InstancePredictor
from model.predict.predictor import Prompt
from model.progress import progress

CERTAINTY = 0.8  # least mean certainty, |2p - 1|, of a mask's cells


def label_boxes(
    predictor: InstancePredictor, dataset: CocoDataset, least_side: float, certainty: float = CERTAINTY
) -> Iterator[dict[int, dict[str, Any]]]:
    """Yield for each image masks (compressed RLEs by the annotation's id) of the boxes that have none.

    Left out are crowds, boxes whose shorter side has fewer than `least_side` pixels, and those of which the
    model is not sure. Classes are matched by name; the model need not know a box's class if it knows only one.
    """
    known = {c.name: i for i, c in enumerate(predictor.categories)}
    classes = [known.get(c.name, 0 if len(known) == 1 else None) for c in dataset.categories]
    for record in progress(dataset.records, unit="image"):
        wanted = [
            a
            for a in record.annotations
            if a.shape is None and classes[a.category] is not None and _short_side(a) >= least_side
        ]
        if wanted:
            yield _masks(predictor, record, wanted, [classes[a.category] for a in wanted], certainty)


def with_masks(data: dict[str, Any], found: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Return a COCO file's content with the masks that were found."""
    masks = [found.get(integer(entry, "id")) for entry in data["annotations"]]
    annotations = [
        entry | {"segmentation": mask} if mask else entry
        for entry, mask in zip(data["annotations"], masks, strict=True)
    ]
    return data | {"annotations": annotations}


def _short_side(annotation: Annotation) -> float:
    x0, y0, x1, y1 = annotation.box
    return min(x1 - x0, y1 - y0)


def _masks(
    predictor: InstancePredictor,
    record: Record,
    wanted: Sequence[Annotation],
    classes: Sequence[int | None],
    certainty: float,
) -> dict[int, dict[str, Any]]:
    """Return compressed RLEs by the annotation's id."""
    image = read_image(record)
    boxes = [a.box for a in wanted]
    mirrored = [(record.width - x1, y0, record.width - x0, y1) for x0, y0, x1, y1 in boxes]
    straight = _begin(predictor, image, boxes, classes)
    mirror = _begin(predictor, np.ascontiguousarray(image[:, ::-1]), mirrored, classes)
    for one, other in zip(straight.renders, mirror.renders, strict=True):
        other.target = one.target  # rounding may have given a box and its mirror image different ones
    predictor.render([straight, mirror])
    found = {}
    for annotation, one, other in zip(wanted, straight.renders, mirror.renders, strict=True):
        both = one.probability() + other.probability().flip(1)
        mean = (both / 2).numpy()
        if float(np.abs(2 * mean - 1).mean()) < certainty:
            continue
        counts = rle.encode(
            paste(mean, annotation.box, record.width, record.height), record.width, record.height
        )
        if rle.area(counts):
            size = [record.height, record.width]
            found[annotation.id] = {"size": size, "counts": rle.compress(counts)}
    return found


def _begin(
    predictor: InstancePredictor,
    image: NDArray[np.uint8],
    boxes: Sequence[Box],
    classes: Sequence[int | None],
) -> InstancePrediction:
    """Return a region for each box, at native resolution, yet to be rendered."""
    prompts = tuple(Prompt(box, k) for box, k in zip(boxes, classes, strict=True))
    options = InstanceOptions(prompts=prompts)
    prepared = predictor.prepare(image, options)
    return predictor.begin(predictor.coarse([prepared]), 0, prepared, options)
