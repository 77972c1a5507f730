"""A tiny network of one class, whose masks are drawn in the boxes of the tiny detector."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from export.measurements import Report
from export.write import DetectorFile, write_bundle
from model.checkpoints.checkpoint import Checkpoint
from model.config.categories import Category
from tests.export.detector.bright import settings, write_graph
from tests.model import tiny

OBJECT = Category(1, "object")


def mask_head(classes: tuple[Category, ...] = (OBJECT,)) -> Checkpoint:
    """A checkpoint with random weights."""
    config = dataclasses.replace(tiny.CONFIG, num_classes=len(classes))
    return Checkpoint(config, classes, dict(tiny.network(config).state_dict()))


def write_detecting(out: Path, **others: Any) -> Report:
    """Write the bundle of both, which has the name `detecting`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = DetectorFile(write_graph(folder), settings(folder))
        source = {"checkpoint": "tiny.safetensors", "sha256": "1", "licence": "Apache-2.0"}
        return write_bundle(
            mask_head(), out, name="detecting", source=source, full_size=False, detector=chosen, **others
        )
