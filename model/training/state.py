"""The state of a training run in a file, from which the run can go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.checkpoints.shapes import fit
from model.config.categories import Category
from model.config.network import config_to_dict
from model.errors import reason
from model.networks.build import Network
from model.training.errors import TrainingError

_LISTED = 5  # differences in one error message
_GIVEN = ("lr", "initial_lr", "weight_decay")  # of an optimiser's groups: as in the recipe, not as saved


def store(
    path: Path,
    network: Network,
    categories: tuple[Category, ...],
    optimiser: torch.optim.Optimizer,
    step: int,
    average: nn.Module | None = None,
) -> None:
    """Write the state atomically: a run killed while writing can still be resumed. `average`: see `Schedule.ema`."""
    state = {
        **({} if average is None else {"average": average.state_dict()}),
        "network": network.state_dict(),
        "optimizer": optimiser.state_dict(),
        "step": step,
        "config": config_to_dict(network.config),
        "categories": [[c.id, c.name] for c in categories],
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def restore(
    path: Path,
    network: Network,
    categories: tuple[Category, ...],
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> int:
    """Load a state and return its step; the optimiser's rates and weight decay stay as they are.

    `average` begins as the network itself if the state has none. Raises TrainingError if the state is of another
    network or of other classes, as far as the file tells.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        step, tensors, moments = int(state["step"]), state["network"], state["optimizer"]
    except OSError as error:
        raise TrainingError(f"{path} could not be read: {reason(error)}") from error
    except Exception as error:  # a damaged file raises nearly anything
        raise TrainingError(
            f"{path} is damaged, or no state of a run: start anew in another folder"
        ) from error
    _check_origin(path, state, network, categories)
    given = [{key: group[key] for key in _GIVEN} for group in optimiser.param_groups]
    try:
        fit(tensors, {name: tensor.shape for name, tensor in network.state_dict().items()})
        network.load_state_dict(tensors)
        _check_optimizer(path, moments["param_groups"], optimiser)
        optimiser.load_state_dict(moments)
        if average is not None:
            average.load_state_dict(state.get("average", tensors))
    except (KeyError, ValueError) as error:
        raise TrainingError(f"{path} is of another network: {error}") from error
    for group, own in zip(optimiser.param_groups, given, strict=True):
        group.update(own)
    return step


def _check_optimizer(
    path: Path, saved: Sequence[Mapping[str, Any]], optimiser: torch.optim.Optimizer
) -> None:
    """Raise TrainingError if the state is of another kind of optimizer, or of an optimizer of other parameters."""
    own = optimiser.param_groups
    alike = len(saved) == len(own) and all(
        len(a["params"]) == len(b["params"]) and ("betas" in a) == ("betas" in b)
        for a, b in zip(saved, own, strict=True)
    )
    if not alike:
        raise TrainingError(
            f"{path} was trained with another `optimizer` or another `trains`: use the settings of the first run, or "
            "start anew in another folder"
        )


def _check_origin(
    path: Path, state: Mapping[str, Any], network: Network, categories: tuple[Category, ...]
) -> None:
    """Raise TrainingError if the state says that it is of another network or of other classes."""
    if differences := _differences(state.get("config", {}), config_to_dict(network.config)):
        raise TrainingError(f"{path} is of another network: {_listed(differences)}")
    own = [f"{c.id} {c.name}" for c in categories]
    saved = [f"{identity} {name}" for identity, name in state["categories"]] if "categories" in state else own
    if saved != own:
        gone = [category for category in saved if category not in own]
        new = [category for category in own if category not in saved]
        raise TrainingError(
            f"{path} is of other classes: the data lacks {_listed(gone)} and has {_listed(new)}"
        )


def _differences(saved: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the members that both configurations have, with different values."""
    found: list[str] = []
    for key, value in saved.items():
        if isinstance(value, dict) and isinstance(own.get(key), dict):
            found += _differences(value, own[key], f"{prefix}{key}.")
        elif key in own and value != own[key]:
            found.append(f"{prefix}{key} was {value}, is {own[key]}")
    return found


def _listed(parts: Sequence[str]) -> str:
    return ", ".join([*parts[:_LISTED], *["…"] * (len(parts) > _LISTED)]) or "nothing else"
