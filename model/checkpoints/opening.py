"""Opening a checkpoint as command lines do: with a preset, or with the reference's own configuration file."""

from __future__ import annotations

from pathlib import Path

from model.checkpoints.checkpoint import REFERENCE_SUFFIXES, Checkpoint, open_checkpoint
from model.checkpoints.detectron2.config import config_from_yaml
from model.config.categories import Category
from model.config.presets import preset as find_preset
from model.config.presets import preset_categories
from model.errors import UserError


def open_named(
    path: Path,
    preset: str | None = None,
    config: Path | None = None,
    categories: tuple[Category, ...] | None = None,
) -> Checkpoint:
    """Open a checkpoint with the network of the named preset or of the reference's config.yaml, if one is given.

    The preset's class names are for imported files (.pkl, .pth), which carry none; native ones keep their own.
    `categories` replace either. Raises ValueError, of which `CheckpointError` is one kind.
    """
    if preset and config:
        raise UserError("give --preset or --config, not both")
    network = find_preset(preset) if preset else config_from_yaml(config) if config else None
    if preset and categories is None and path.suffix.lower() in REFERENCE_SUFFIXES:
        categories = preset_categories(preset)
    return open_checkpoint(path, network, categories)
