"""What `python -m model train` trains: a network, its data and its recipe, for either task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from model.config.instance import MaskRCNNConfig
from model.config.overrides import override
from model.config.semantic import SemanticConfig
from model.data.coco import load_coco
from model.data.label_maps import load_label_maps, together
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from model.training import instance
from model.training.recipe import recipe as instance_recipe
from model.training.semantic import train as train_semantic
from model.training.semantic_recipe import semantic_recipe
from model.training.validation import open_validation

Sources = Sequence[tuple[Path, Path]]  # file and folder


@dataclass(frozen=True)
class Job:
    network: MaskRCNN | SemanticNet
    run: Callable[..., Path | None]  # `train` of the task, but for the folder and how to go about it
    val_data: Path | None


def instance_job(
    preset: str,
    config: MaskRCNNConfig,
    given: Mapping[str, Any],
    changes: Sequence[str],
    sources: Sources,
    val_data: Path | None,
    val_images: Path | None,
) -> Job:
    """Of COCO-format data; the classes are the first file's. `given` and `changes` alter the preset's recipe."""
    if (val_data is None) != (val_images is None):
        raise ValueError("give --val-data and --val-images, or neither")
    recipe = override(dataclasses.replace(instance_recipe(preset), **given), changes)
    datasets = [load_coco(file, folder) for file, folder in sources]
    classes = datasets[0].categories
    validation = open_validation(val_data, val_images, classes) if val_data and val_images else None
    network = MaskRCNN(dataclasses.replace(config, num_classes=len(classes)))
    return Job(network, partial(instance.train, network, datasets, recipe, validation=validation), val_data)


def semantic_job(
    preset: str,
    config: SemanticConfig,
    given: Mapping[str, Any],
    changes: Sequence[str],
    sources: Sources,
    val_data: Path | None,
    val_images: Path | None,
) -> Job:
    """Of label maps; validation is read by the same classes unless it has a file of its own."""
    recipe = override(dataclasses.replace(semantic_recipe(preset), **given), changes)
    data = together([load_label_maps(file, folder) for file, folder in sources])
    if val_data and not val_images:
        raise ValueError("--val-data needs --val-images")
    val_data = val_data or (sources[0][0] if val_images else None)
    validation = None
    if val_data and val_images:
        validation = together([load_label_maps(val_data, val_images)], like=data.labelling)
    network = SemanticNet(dataclasses.replace(config, num_classes=len(data.labelling.classes)))
    return Job(network, partial(train_semantic, network, data, recipe, validation=validation), val_data)
