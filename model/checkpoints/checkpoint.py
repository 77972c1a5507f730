"""Checkpoints: trained tensors together with what is needed to use them, for any task.

The native format is safetensors; format version, configuration, categories and palette stand in its metadata as
JSON. Every failure of reading or fitting a checkpoint is a `CheckpointError` with one line that says what is wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor
from typing_extensions import TypeVar

from model.checkpoints.detectron2.arrays import read_arrays
from model.checkpoints.detectron2.convert import convert
from model.checkpoints.errors import CheckpointError
from model.checkpoints.shapes import fit, network_shapes
from model.config.categories import Category, default_categories
from model.config.instance import MaskRCNNConfig
from model.config.network import NetworkConfig, Task, config_from_dict, config_to_dict
from model.config.semantic import SemanticConfig
from model.errors import reason
from model.masks.palette import Colour, default_palette, parse_palette

FORMAT = "pointrend-checkpoint"
VERSION = 1
REFERENCE_SUFFIXES = (".pkl", ".pth")

Config = TypeVar("Config", bound=NetworkConfig, default=NetworkConfig, covariant=True)


@dataclass(frozen=True)
class Checkpoint(Generic[Config]):
    """A network's configuration, its classes in order, its tensors by name, free notes, and a colour for each class."""

    config: Config
    categories: tuple[Category, ...]
    tensors: dict[str, Tensor]
    notes: dict[str, str] = field(default_factory=dict)
    palette: tuple[Colour, ...] = ()  # left out: colours as different as they can be

    def __post_init__(self) -> None:
        classes = self.config.num_classes
        if len(self.categories) != classes:
            raise CheckpointError(f"{len(self.categories)} categories for a network of {classes} classes")
        if not self.palette:
            object.__setattr__(self, "palette", default_palette(classes))
        if len(self.palette) != classes:
            raise CheckpointError(f"{len(self.palette)} colours for {classes} classes")


_NETWORKS = {"instance": "Mask R-CNN", "semantic": "semantic segmentation network"}


@overload
def of_task(checkpoint: Checkpoint, task: Literal["instance"]) -> Checkpoint[MaskRCNNConfig]: ...
@overload
def of_task(checkpoint: Checkpoint, task: Literal["semantic"]) -> Checkpoint[SemanticConfig]: ...
def of_task(checkpoint: Checkpoint, task: Task) -> Any:
    """Return the checkpoint itself, for code that serves one task alone. Raises CheckpointError if it is of another."""
    found = checkpoint.config.task
    if found != task:
        raise CheckpointError(f"the checkpoint is a {_NETWORKS[found]}, not a {_NETWORKS[task]}")
    return checkpoint


def save(path: str | Path, checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> None:
    """Write the native format; `dtype` (such as torch.float16) is how matrices and filters are stored.

    Vectors stay as they are: they are small, and a variance can pass float16's range.
    Raises CheckpointError if a value does not fit into `dtype`. The file appears whole or not at all.
    """
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": json.dumps(config_to_dict(checkpoint.config)),
        "categories": json.dumps([asdict(c) for c in checkpoint.categories]),
        "notes": json.dumps(checkpoint.notes),
        "palette": json.dumps(checkpoint.palette),
    }
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in checkpoint.tensors.items()}
    partial = path.with_name(f"{path.name}.partial")
    try:
        # Not `save_file`, whose files only their owner may read, whatever the umask.
        partial.write_bytes(serialised(tensors, metadata))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> Checkpoint:
    """Read the native format; floating-point tensors come as float32.

    Whether the tensors fit the network of the configuration is not checked here: see `open_checkpoint`.
    Raises CheckpointError if the file is damaged, foreign or of a newer version.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: _float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path.name} is not a readable safetensors file: {reason(error)}") from error
    try:
        config = config_from_dict(_parsed(metadata, "config", dict))
        categories = tuple(Category(**entry) for entry in _parsed(metadata, "categories", list))
        notes = _parsed(metadata, "notes", dict)
        if not all(isinstance(text, str) for text in notes.values()):
            raise TypeError("its notes are not all text")
        palette = parse_palette(_parsed(metadata, "palette", list)) if "palette" in metadata else ()
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has damaged metadata: {error}") from error
    return Checkpoint(config, categories, tensors, notes, palette)


def open_checkpoint(
    path: str | Path, config: NetworkConfig | None = None, categories: tuple[Category, ...] | None = None
) -> Checkpoint:
    """Read a checkpoint of any task (.safetensors: native; .pkl, .pth: the reference's) and check that it fits.

    `config` is needed for the reference's files, which carry none; for native ones it replaces the stored
    one. `categories` replace the stored ones; without any, imported classes have the names of `default_categories`.
    Raises CheckpointError, also when the tensors are not exactly those of the configuration's network.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        stored = load(path)
        config = config or stored.config
        fit(stored.tensors, network_shapes(config))
        return Checkpoint(
            config, categories or stored.categories, stored.tensors, stored.notes, stored.palette
        )
    if suffix not in REFERENCE_SUFFIXES:
        raise CheckpointError(f"{path.name} is no checkpoint: expected .safetensors, .pkl or .pth")
    if config is None:
        raise CheckpointError(f"{path.name} carries no configuration: name a preset or give its config.yaml")
    tensors = convert(read_arrays(path), config, network_shapes(config))
    labels = categories or default_categories(config.task, config.num_classes)
    return Checkpoint(config, labels, tensors, {"imported_from": path.name})


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if dtype is None or tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    cast = tensor.to(dtype)
    if not torch.equal(cast.isfinite(), tensor.isfinite()):
        raise CheckpointError(f"{name} has values beyond the range of {dtype}")
    return cast


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path.name} is a safetensors file of something else: no {FORMAT!r} in it")
    version = metadata.get("version", "")
    if not version.isdecimal():
        raise CheckpointError(f"{path.name} has a damaged format version {version!r}")
    if int(version) > VERSION:
        raise CheckpointError(f"{path.name} has format version {version}; this code reads up to {VERSION}")


def _parsed(metadata: Mapping[str, str], key: str, kind: type) -> Any:
    value = json.loads(metadata[key])
    if not isinstance(value, kind):
        raise TypeError(f"{key} is not a {kind.__name__}")
    return value
