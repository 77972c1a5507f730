"""Checkpoints: trained tensors together with what is needed to use them, for either task.

The native format is safetensors; format version, configuration and categories stand in its metadata as JSON.
Every failure of reading or fitting a checkpoint is a `CheckpointError` with one line that says what is wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from model.config.categories import COCO, Category, numbered
from model.config.instance import MaskRCNNConfig, to_dict
from model.config.semantic import SemanticConfig, any_from_dict
from model.masks.palette import Colour, default_palette, parse_palette

FORMAT = "pointrend-checkpoint"
VERSION = 1
REFERENCE_SUFFIXES = (".pkl", ".pth")
_LISTED = 10  # names in one error message; a wrong architecture would list hundreds

Shape = Sequence[int]
AnyConfig = MaskRCNNConfig | SemanticConfig
Config = TypeVar("Config", MaskRCNNConfig, SemanticConfig)


class CheckpointError(ValueError):
    """A checkpoint that is damaged, foreign, newer than this code, or made for another network."""


@dataclass(frozen=True)
class _Checkpoint(Generic[Config]):
    config: Config
    categories: tuple[Category, ...]
    tensors: dict[str, Tensor]
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.categories) != self.config.num_classes:
            raise CheckpointError(
                f"{len(self.categories)} categories for a network of {self.config.num_classes} classes"
            )


@dataclass(frozen=True)
class Checkpoint(_Checkpoint[MaskRCNNConfig]):
    """A network's configuration, its classes in order, its tensors by name, and free notes."""


@dataclass(frozen=True)
class SemanticCheckpoint(_Checkpoint[SemanticConfig]):
    """The same of a semantic network, with a colour for each class."""

    palette: tuple[Colour, ...] = ()  # left out: colours as different as they can be

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.palette:
            object.__setattr__(self, "palette", default_palette(self.config.num_classes))
        if len(self.palette) != self.config.num_classes:
            raise CheckpointError(f"{len(self.palette)} colours for {self.config.num_classes} classes")


AnyCheckpoint = Checkpoint | SemanticCheckpoint


def save(path: str | Path, checkpoint: AnyCheckpoint, dtype: torch.dtype | None = None) -> None:
    """Write the native format; `dtype` (such as torch.float16) is how matrices and filters are stored.

    Vectors stay as they are: they are small, and a variance can pass float16's range.
    Raises CheckpointError if a value does not fit into `dtype`. The file appears whole or not at all.
    """
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": json.dumps(to_dict(checkpoint.config)),
        "categories": json.dumps([asdict(c) for c in checkpoint.categories]),
        "notes": json.dumps(checkpoint.notes),
    }
    if isinstance(checkpoint, SemanticCheckpoint):
        metadata["palette"] = json.dumps(checkpoint.palette)
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in checkpoint.tensors.items()}
    partial = path.with_name(f"{path.name}.partial")
    try:
        # Not `save_file`: what it writes, nobody else may read, whatever the umask.
        partial.write_bytes(serialised(tensors, metadata))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> AnyCheckpoint:
    """Read the native format; floating-point tensors come as float32.

    Whether the tensors fit the network of the configuration is not checked here: see `open_checkpoint`.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: _float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path.name} is not a readable safetensors file: {error}") from error
    try:
        config = any_from_dict(_parsed(metadata, "config", dict))
        categories = tuple(Category(**entry) for entry in _parsed(metadata, "categories", list))
        notes = _parsed(metadata, "notes", dict)
        palette = parse_palette(_parsed(metadata, "palette", list)) if "palette" in metadata else ()
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has damaged metadata: {error}") from error
    return _assembled(config, categories, tensors, notes, palette)


def open_checkpoint(
    path: str | Path, config: MaskRCNNConfig | None = None, categories: tuple[Category, ...] | None = None
) -> Checkpoint:
    """`open_any` for a Mask R-CNN; a semantic network is a CheckpointError."""
    opened = open_any(path, config, categories)
    if not isinstance(opened, Checkpoint):
        raise CheckpointError(f"{Path(path).name} is a semantic segmentation network, not a Mask R-CNN")
    return opened


def open_semantic(
    path: str | Path, config: SemanticConfig | None = None, categories: tuple[Category, ...] | None = None
) -> SemanticCheckpoint:
    """`open_any` for a semantic network; a Mask R-CNN is a CheckpointError."""
    opened = open_any(path, config, categories)
    if not isinstance(opened, SemanticCheckpoint):
        raise CheckpointError(f"{Path(path).name} is a Mask R-CNN, not a semantic segmentation network")
    return opened


def open_any(
    path: str | Path, config: AnyConfig | None = None, categories: tuple[Category, ...] | None = None
) -> AnyCheckpoint:
    """Read a checkpoint of either kind (.safetensors: native; .pkl, .pth: the reference's) and fit it.

    `config` is needed for the reference's files, which carry none; for native ones it replaces the stored
    one. `categories` replace the stored ones; without any, 80 classes of things are COCO's and others numbered.
    Raises CheckpointError, also when the tensors are not exactly those of the configuration's network.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        stored = load(path)
        config, palette = config or stored.config, getattr(stored, "palette", ())
        fit(stored.tensors, network_shapes(config))
        return _assembled(config, categories or stored.categories, stored.tensors, stored.notes, palette)
    if suffix not in REFERENCE_SUFFIXES:
        raise CheckpointError(f"{path.name} is no checkpoint: expected .safetensors, .pkl or .pth")
    if config is None:
        raise CheckpointError(f"{path.name} carries no configuration: name a preset or give its config.yaml")
    # Imported here: reading native files needs no unpickler.
    from model.checkpoints.detectron2.arrays import convert, read_arrays

    tensors = convert(read_arrays(path), config, network_shapes(config))
    known = default_categories(config.num_classes) if isinstance(config, MaskRCNNConfig) else None
    labels = categories or known or numbered(config.num_classes)
    return _assembled(config, labels, tensors, {"imported_from": path.name})


def _assembled(
    config: AnyConfig,
    categories: tuple[Category, ...],
    tensors: dict[str, Tensor],
    notes: dict[str, str],
    palette: tuple[Colour, ...] = (),
) -> AnyCheckpoint:
    if isinstance(config, MaskRCNNConfig):
        return Checkpoint(config, categories, tensors, notes)
    return SemanticCheckpoint(config, categories, tensors, notes, palette)


def fit(tensors: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> None:
    """Check that `tensors` are exactly the expected ones: no name missing or left over, every shape right.

    Raises CheckpointError that lists all three kinds of misfit.
    """
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    misfits = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "of another shape": misshapen,
    }
    found = [f"{kind}: {_listed(names)}" for kind, names in misfits.items() if names]
    if found:
        raise CheckpointError("the tensors do not fit the network; " + "; ".join(found))


def network_shapes(config: AnyConfig) -> dict[str, torch.Size]:
    """Names and shapes of the tensors of the configuration's network, built without memory for them."""
    # Imported here so that files can be read and written without the network's dependencies.
    from model.networks.mask_rcnn import MaskRCNN
    from model.networks.semantic import SemanticNet

    with torch.device("meta"):
        network = MaskRCNN(config) if isinstance(config, MaskRCNNConfig) else SemanticNet(config)
        return {name: tensor.shape for name, tensor in network.state_dict().items()}


def default_categories(num_classes: int) -> tuple[Category, ...]:
    """COCO's for 80 classes, numbered ones otherwise."""
    return COCO if num_classes == len(COCO) else numbered(num_classes)


def _listed(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


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
