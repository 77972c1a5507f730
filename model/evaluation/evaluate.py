"""Evaluation of a checkpoint of any task: `python -m model evaluate` without its command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model.checkpoints.checkpoint import Checkpoint
from model.errors import UserError
from model.evaluation.instance import evaluate_instances
from model.evaluation.label_maps import evaluate_label_maps
from model.evaluation.report import Report
from model.evaluation.settings import EvaluationSettings

# By task. Each takes a checkpoint of its task, a file of annotations, and the folder that belongs to it.
_EVALUATIONS: Mapping[str, Callable[[Any, Path, Path, EvaluationSettings], Report]] = {
    "instance": evaluate_instances,
    "semantic": evaluate_label_maps,
}


def evaluate(checkpoint: Checkpoint, data: Path, images: Path, settings: EvaluationSettings) -> Report:
    """Run a checkpoint on data of its task at its own inference settings, and return how good it is.

    Raises DataError if the data cannot be used or are of other classes, UserError for impossible settings.
    """
    if checkpoint.config.task != "instance" and (settings.true_boxes or settings.one_class):
        raise UserError("--true-boxes and --one-class are for models of instances: label maps have no boxes")
    return _EVALUATIONS[checkpoint.config.task](checkpoint, data, images, settings)
