"""What a training run is measured on, and how: average precision, a line in a file, a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import nn

from model.config.categories import Category
from model.data.coco import CocoDataset, load_coco
from model.data.fields import DataError
from model.evaluation.coco_ap import coco_results, evaluate, listed
from model.networks.eager import predictor_of
from model.networks.mask_rcnn import MaskRCNN
from model.predict.instance import InstanceOptions
from model.training.pictures import compare
from model.training.run_files import append


@dataclass(frozen=True)
class Validation:
    annotations: Path
    dataset: CocoDataset  # the same, loaded
    categories: tuple[Category, ...]  # its categories, in the order of the network's classes


def open_validation(annotations: Path, images: Path, classes: tuple[Category, ...]) -> Validation:
    """Annotated images to measure a network of these classes on; ids may differ, names may not.

    Raises DataError that names the categories that only one side has, or what else is wrong.
    """
    dataset = load_coco(annotations, images)
    theirs = {category.name: category for category in dataset.categories}
    lacking = [category for category in classes if category.name not in theirs]
    foreign = [theirs[name] for name in theirs.keys() - {category.name for category in classes}]
    if lacking or foreign:
        sides = {"lacks": lacking, "has besides": sorted(foreign, key=lambda category: category.id)}
        parts = [f"it {verb} {listed(found)}" for verb, found in sides.items() if found]
        raise DataError(f"{annotations}: other categories than the training data: {', '.join(parts)}")
    if not any(record.annotations for record in dataset.records):
        raise DataError(f"{annotations}: nothing to measure on, not one instance in it")
    return Validation(annotations, dataset, tuple(theirs[category.name] for category in classes))


def validate(network: MaskRCNN, validation: Validation, out: Path, step: int, epoch: float) -> str:
    """Measure a network at its shipped settings, as `python -m model evaluate` does; says so in one line.

    Adds a line to `out/validation.jsonl` (null: not measured) and draws `out/pictures/step_….jpg`. The
    network's modes are as before afterwards; nothing random is drawn.
    """
    options = InstanceOptions(score=0.0)  # the network has a threshold of its own
    with evaluating(network):
        results = coco_results(predictor_of(network, validation.categories), validation.dataset, options)
    metrics = evaluate(validation.annotations, results)
    shown = ("box/AP", "mask/AP", "boundary/AP")
    return recorded(out, step, epoch, metrics, shown, compare(validation.dataset, results))


def recorded(
    out: Path,
    step: int,
    epoch: float,
    metrics: Mapping[str, float],
    shown: Sequence[str],
    picture: Image.Image,
) -> str:
    """The line that says the metrics to show; all go to `out/validation.jsonl`, the picture to `out/pictures`."""
    written = {name: None if math.isnan(value) else round(value, 5) for name, value in metrics.items()}
    append(out / "validation.jsonl", {"step": step, "epoch": round(epoch, 3)} | written)
    path = out / "pictures" / f"step_{step:06}.jpg"
    path.parent.mkdir(exist_ok=True)
    picture.save(path, quality=85)
    values = ", ".join(f"{name.replace('/', ' ')} {_text(metrics[name])}" for name in shown)
    return f"step {step}, epoch {epoch:.1f}: {values}"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode; then every part is put back into its own mode (frozen norms never train)."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
