"""The tasks that can be trained. A third one is a module like its siblings, recipes, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model.config.network import NetworkConfig
from model.training.instance import open_instance_task
from model.training.recipe import Recipe
from model.training.semantic import open_semantic_task
from model.training.task import TrainingFiles, TrainingTask

# By task: what opens its files, with a configuration and a recipe of the task.
_TASKS: Mapping[str, Callable[[Any, Any, TrainingFiles], TrainingTask[Any]]] = {
    "instance": open_instance_task,
    "semantic": open_semantic_task,
}


def open_task(config: NetworkConfig, recipe: Recipe, files: TrainingFiles) -> TrainingTask[Any]:
    """Return a new network of the configuration, for the classes of the data, with data and recipe.

    Raises UserError, and DataError if the data cannot be used.
    """
    return _TASKS[config.task](config, recipe, files)
