"""The files of a training run: the state that it can go on from, its log, and other files of a line a step."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from model.checkpoints.shapes import fit
from model.config.categories import Category
from model.config.network import config_to_dict
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet

AnyNet = MaskRCNN | SemanticNet
_LISTED = 5  # differences in one error message
_GIVEN = ("lr", "base_lr", "weight_decay")  # of an optimiser's groups: as in the recipe, not as saved


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


def store(
    path: Path,
    network: AnyNet,
    categories: tuple[Category, ...],
    optimiser: torch.optim.Optimizer,
    step: int,
    average: AnyNet | None = None,
) -> None:
    """Atomically, so that a run killed while writing can still be resumed. `average`: see Recipe.ema."""
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
    network: AnyNet,
    categories: tuple[Category, ...],
    optimiser: torch.optim.Optimizer,
    average: AnyNet | None = None,
) -> int:
    """Load a state and return its step; the optimiser's rates and weight decay stay as they are.

    `average` begins as the network itself if the state has none.

    Raises TrainingError if it is of another network or of other classes, as far as the file tells.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        step, tensors, moments = int(state["step"]), state["network"], state["optimizer"]
    except Exception as error:  # a damaged file raises nearly anything
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"{path} could not be read ({reason}): start anew in another folder") from error
    if differences := _differences(state.get("config", {}), config_to_dict(network.config)):
        raise TrainingError(f"{path} is of another network: {_listed(differences)}")
    own = [f"{c.id} {c.name}" for c in categories]
    theirs = (
        [f"{identity} {name}" for identity, name in state["categories"]] if "categories" in state else own
    )
    if theirs != own:
        gone, new = ([c for c in a if c not in b] for a, b in ((theirs, own), (own, theirs)))
        raise TrainingError(
            f"{path} is of other classes: the data lacks {_listed(gone)} and has {_listed(new)}"
        )
    given = [{key: group[key] for key in _GIVEN} for group in optimiser.param_groups]
    try:
        fit(tensors, {name: tensor.shape for name, tensor in network.state_dict().items()})
        network.load_state_dict(tensors)
        optimiser.load_state_dict(moments)
        if average is not None:
            average.load_state_dict(state.get("average", tensors))
    except (KeyError, ValueError) as error:
        raise TrainingError(f"{path} is of another network: {error}") from error
    for group, rates in zip(optimiser.param_groups, given, strict=True):
        group.update(rates)
    return step


class Log:
    """`log.jsonl`: running means of the losses and the speed, a line every now and then."""

    def __init__(self, path: Path, start: int, batch_size: int) -> None:
        """Lines beyond `start`, of a run that was killed, are dropped."""
        self.path, self.batch_size = path, batch_size
        self.means: dict[str, float] = {}
        self.restart_clock(start)
        cut(path, start)

    def add(self, losses: Mapping[str, float]) -> float:
        """Take in a step's losses; returns the mean of their sum."""
        for name, value in losses.items():
            self.means[name] = 0.95 * self.means.get(name, value) + 0.05 * value
        return sum(self.means.values())

    def restart_clock(self, step: int) -> None:
        """The speed is measured from here on: after a pause that is no training."""
        self._written = step, time.perf_counter()

    def write(self, step: int, lr: float) -> None:
        before, then = self._written
        speed = (step - before) * self.batch_size / (time.perf_counter() - then)
        self.restart_clock(step)
        means = {name: round(value, 5) for name, value in self.means.items()}
        append(self.path, {"step": step, "lr": lr, "images_per_second": speed} | means)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a file of one JSON object a line."""
    with path.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def cut(path: Path, step: int) -> None:
    """Drop what a killed run wrote beyond the step that it was stored at, if there is such a file."""
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        path.write_text("".join(f"{line}\n" for line in kept))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What `append` wrote; nothing if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _step_of(line: str) -> float:
    """Infinite if the line was cut off while it was written."""
    try:
        return float(json.loads(line)["step"])
    except (KeyError, TypeError, ValueError):
        return math.inf


def _differences(saved: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Members that both configurations have, with different values."""
    found: list[str] = []
    for key, value in saved.items():
        if isinstance(value, dict) and isinstance(own.get(key), dict):
            found += _differences(value, own[key], f"{prefix}{key}.")
        elif key in own and value != own[key]:
            found.append(f"{prefix}{key} was {value}, is {own[key]}")
    return found


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:_LISTED] + ["…"] * (len(parts) > _LISTED)) or "nothing else"


def bare(arguments: Sequence[str]) -> str:
    """A command line with file names instead of paths: a checkpoint may travel, its author's folders should not."""
    return " ".join(Path(argument).name if "/" in argument else argument for argument in arguments)
