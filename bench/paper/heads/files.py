"""The two files of the heads' training: its state, and the trained heads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from bench.paper.heads.variants import NAMES, Head, build_all
from model.checkpoints.errors import CheckpointError
from model.checkpoints.shapes import fit
from model.config.instance import MaskRCNNConfig
from model.training.errors import TrainingError
from model.training.recipe import InstanceRecipe

FORMAT = "pointrend-paper-heads"


@dataclass(frozen=True)
class Origin:
    """The checkpoint and the recipe with which heads were trained."""

    checkpoint: str  # sha256 of its file
    recipe: InstanceRecipe


def store(
    path: Path,
    heads: Mapping[str, Head],
    optimisers: Mapping[str, torch.optim.Optimizer],
    step: int,
    origin: Origin,
) -> None:
    """Write the state of a run. The file appears whole or not at all."""
    state = {
        "heads": {name: head.state_dict() for name, head in heads.items()},
        "optimizers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
        "step": step,
        "checkpoint": origin.checkpoint,
        "recipe": _recipe(origin),
    }
    partial = path.with_name(f"{path.name}.partial")
    torch.save(state, partial)
    os.replace(partial, path)


def restore(
    path: Path,
    heads: Mapping[str, Head],
    optimisers: Mapping[str, torch.optim.Optimizer],
    origin: Origin,
) -> int:
    """Load a state and return its step. Raises TrainingError if it is damaged or of another run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint, recipe, step = state["checkpoint"], json.loads(state["recipe"]), int(state["step"])
    except Exception as error:  # a damaged file raises nearly anything
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"{path} could not be read ({reason}): start anew in another folder") from error
    if checkpoint != origin.checkpoint:
        raise TrainingError(f"{path} is of another checkpoint: start anew in another folder")
    own = json.loads(_recipe(origin))
    if changed := [
        f"{key} was {recipe.get(key)}, is {own[key]}" for key in own if recipe.get(key) != own[key]
    ]:
        raise TrainingError(f"{path} is of another recipe: {', '.join(changed)}")
    for name in NAMES:
        heads[name].load_state_dict(state["heads"][name])
        optimisers[name].load_state_dict(state["optimizers"][name])
    return step


def write_heads(path: Path, heads: Mapping[str, Head], origin: Origin) -> None:
    """Write all heads into one safetensors file, names prefixed by the head's. It appears whole or not at all."""
    tensors = {
        f"{name}.{key}": tensor.contiguous()
        for name, head in heads.items()
        for key, tensor in head.state_dict().items()
    }
    metadata = {"format": FORMAT, "checkpoint_sha256": origin.checkpoint, "recipe": _recipe(origin)}
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(serialised(tensors, metadata))
    os.replace(partial, path)


def read_heads(path: Path, config: MaskRCNNConfig, checkpoint: str) -> dict[str, Head]:
    """Return the heads, for evaluation over the checkpoint with this configuration and sha256.

    Raises CheckpointError if `write_heads` did not write the file, or if it belongs to another checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: `python -m bench.paper train` writes it")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path.name} is not a readable safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path.name} is a safetensors file of something else: no {FORMAT!r} in it")
    if metadata.get("checkpoint_sha256") != checkpoint:
        raise CheckpointError(f"the heads of {path.name} were trained over another checkpoint")
    heads = build_all(config)
    fit(tensors, {f"{n}.{key}": t.shape for n, head in heads.items() for key, t in head.state_dict().items()})
    for name, head in heads.items():
        own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
        head.load_state_dict(own)
        head.eval().requires_grad_(False)
    return heads


def _recipe(origin: Origin) -> str:
    return json.dumps(asdict(origin.recipe), sort_keys=True)
