"""The reference's arrays as tensors under our names, and whether they are those of a configuration's network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model.checkpoints.detectron2.arrays import Array
from model.checkpoints.detectron2.names import POINT, rename
from model.checkpoints.errors import CheckpointError
from model.checkpoints.shapes import Shape, fit
from model.config.network import NetworkConfig
from model.networks.boxes import cell_anchors

_TRUNK = "backbone.trunk."  # the part whose norms have fixed statistics


def convert(
    arrays: Mapping[str, Array], config: NetworkConfig, expected: Mapping[str, Shape]
) -> dict[str, Tensor]:
    """Return the reference's arrays as float32 tensors under our names, exactly those of `expected`.

    Buffers that restate the configuration are compared with it and dropped. BatchNorm without running
    statistics (Caffe2's files) gets mean 0 and variance 1. Raises CheckpointError that names whatever is
    missing, unexpected, misshapen or contrary to the configuration.
    """
    tensors: dict[str, Tensor] = {}
    buffers = _restated(config)
    for original, array in arrays.items():
        if original in buffers:
            _check_buffer(original, array, buffers[original])
            continue
        if original.endswith(".norm.num_batches_tracked"):
            continue
        name = rename(original)
        if name in tensors:
            raise CheckpointError(f"two arrays stand for {name}; the second is {original}")
        tensors[name] = _tensor(name, array)
    tensors |= _missing_statistics(tensors)
    fit(tensors, expected)
    return tensors


def reference_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return the reference's arrays as float32 tensors under our names, whatever they are."""
    names = {original: rename(original) for original in arrays}
    return {name: _tensor(name, arrays[original]) for original, name in names.items()}


def _tensor(name: str, array: Array) -> Tensor:
    """Return a writable copy; the reference's point heads are convolutions of width 1, ours are linear layers."""
    is_conv1d = name.startswith(POINT) and array.ndim == 3 and array.shape[2] == 1
    return torch.from_numpy(np.array(array[..., 0] if is_conv1d else array, dtype=np.float32, order="C"))


def _missing_statistics(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return mean 0 and variance 1 for every norm that has weight and bias but neither of the two."""
    filled: dict[str, Tensor] = {}
    for name, weight in tensors.items():
        prefix = name.removesuffix("weight")
        mean, var = prefix + "running_mean", prefix + "running_var"
        if (
            name.startswith(_TRUNK)
            and name.endswith(".norm.weight")
            and prefix + "bias" in tensors
            and not {mean, var} & tensors.keys()
        ):
            filled |= {mean: torch.zeros_like(weight), var: torch.ones_like(weight)}
    return filled


def _restated(config: NetworkConfig) -> dict[str, Array]:
    """Return what those buffers of older files that hold no trained value must be under this configuration."""
    pixels = config.preprocessing
    buffers = {"pixel_mean": np.array(pixels.mean), "pixel_std": np.array(pixels.std)}
    if config.task == "instance":
        for i, size in enumerate(config.rpn.anchor_sizes):
            anchors = cell_anchors(size, config.rpn.aspect_ratios).numpy()
            buffers[f"proposal_generator.anchor_generator.cell_anchors.{i}"] = anchors
    return buffers


def _check_buffer(name: str, array: Array, expected: Array) -> None:
    if array.size != expected.size or not np.allclose(array.reshape(expected.shape), expected, rtol=1e-4):
        raise CheckpointError(
            f"{name} is {array.ravel().tolist()}, but the configuration says {expected.ravel().tolist()}"
        )
