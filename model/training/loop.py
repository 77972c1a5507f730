"""The training loop of any task: steps, the averaged weights, checkpoints, a log, measurements, resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from model.config.categories import Category
from model.data.fields import DataError
from model.networks.layers import hold_statistics
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from model.training import recipe as recipes
from model.training.curves import draw_curves
from model.training.distributed import Process
from model.training.ema import Average
from model.training.optimizer import lr_factor, optimizer
from model.training.recipe import Schedule
from model.training.run_files import Log, TrainingError, cut, restore, store

LOG_EVERY = 20  # steps
Net = TypeVar("Net", MaskRCNN, SemanticNet)
BatchT = TypeVar("BatchT")
GivenT = TypeVar("GivenT", contravariant=True)


class BatchLosses(Protocol[GivenT]):
    """The losses of one batch by a network that may be wrapped (DistributedDataParallel)."""

    def __call__(
        self, wrapped: nn.Module, batch: GivenT, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Task(Generic[Net, BatchT]):
    """What is trained: everything that the loop itself does not know."""

    network: Net
    categories: tuple[Category, ...]
    step: nn.Module  # the network with its losses, what DistributedDataParallel wraps
    losses: BatchLosses[BatchT]
    batches: Callable[[int], Iterator[BatchT]]  # this process's, from a step on
    epoch: int  # steps
    announce: Callable[
        [int, int], Sequence[str]
    ]  # what is said at the start, of first step and steps a validation
    validate: Callable[[Net, int, float], str] | None = None  # at a step and epoch; one line


def run(
    task: Task[Net, BatchT],
    recipe: Schedule,
    out: Path,
    process: Process,
    *,
    resume: bool = False,
    checkpoint_every: int = 200,
    validate_every: int | None = None,
) -> Net | None:
    """Train; returns the network that is to be exported (the average, if the recipe has one; None except on rank 0).

    `out/last.pt` holds everything a resumed run needs; a resumed run sees the batches and the random
    draws that an uninterrupted one would (torch's global generator, which dropout draws from, is seeded
    anew at every step). `out/log.jsonl` has a line every 20 steps and at the last one.

    Every `validate_every` steps (None: every epoch of at least 20; 0: never before the end) and after the last one
    the state is stored, the curves are drawn, and the weights that would be exported are measured; that
    changes nothing in the training. Raises TrainingError, and DataError when a batch is read.
    """
    state = out / "last.pt"
    if state.exists() and not resume:
        raise TrainingError(f"{state} is there already: add --resume to go on, or choose another folder")
    device, network = process.device(), task.network
    network.to(device).train()
    if recipe.freeze_norms:
        hold_statistics(network)
    network.backbone.trunk.to(memory_format=torch.channels_last)
    optimiser = optimizer(network, recipe)
    average = Average(network, recipe.ema) if recipe.ema and process.rank == 0 else None
    averaged = average.network if average else None
    start: int = restore(state, network, task.categories, optimiser, averaged) if state.exists() else 0
    if resume and not state.exists():
        process.say(f"there is no {state} to resume from: starting anew")
    every: int = max(task.epoch, LOG_EVERY) if validate_every is None else validate_every
    for line in (*task.announce(start, every), f"files: {out}"):
        process.say(line)
    step_module: nn.Module = DistributedDataParallel(task.step) if process.world_size > 1 else task.step
    batches = task.batches(start)
    if process.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.json").write_text(json.dumps(recipes.to_dict(recipe), indent=1))
        log = Log(out / "log.jsonl", start, recipe.batch_size)
        cut(out / "validation.jsonl", start)
    steps = range(start, recipe.steps)
    # Closed also when the run breaks off, so that what is said then has a line of its own.
    with tqdm(steps, initial=start, total=recipe.steps, unit="step", disable=process.rank != 0) as progress:
        for step in progress:
            losses = partial(task.losses, step_module, next(batches))
            values = training_step(losses, optimiser, step, recipe, process)
            if process.rank:
                continue
            if average:
                average.update(step)
            progress.set_postfix(loss=f"{log.add(values):.3f}", refresh=False)
            done, is_last = step + 1, step + 1 == recipe.steps
            if done % LOG_EVERY == 0 or is_last:
                log.write(done, recipe.lr * lr_factor(step, recipe))
            due = is_last or (every > 0 and done % every == 0)
            if done % checkpoint_every == 0 or due:
                store(state, network, task.categories, optimiser, done, averaged)
            if due:
                # The other processes wait in their next step: Process.join gives them hours for it.
                if task.validate:
                    progress.write(task.validate(averaged or network, done, done / task.epoch))
                draw_curves(out)
                log.restart_clock(done)
    return None if process.rank else averaged or network


def training_step(
    losses: Callable[[torch.device, torch.Generator], dict[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    step: int,
    recipe: Schedule,
    process: Process,
) -> dict[str, float]:
    """Forward, backward and update: the losses' values. Raises TrainingError if they are not finite."""
    seed = (recipe.seed * 1_000_003 + step) * process.world_size + process.rank
    torch.manual_seed(seed)
    device = process.device()
    generator = torch.Generator(device).manual_seed(seed)
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * lr_factor(step, recipe)
    found = losses(device, generator)
    total = torch.stack(list(found.values())).sum()
    if not torch.isfinite(total):
        parts = ", ".join(f"{name} {value.item():.3g}" for name, value in found.items())
        raise TrainingError(f"the loss is not finite at step {step} ({parts}): try a lower learning rate")
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if recipe.clip_norm:
        trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
    optimiser.step()
    return {name: value.item() for name, value in found.items()}


def batch_per_process(recipe: Schedule, process: Process) -> int:
    """This process's images of a batch. Raises TrainingError if it cannot be shared."""
    if recipe.batch_size % process.world_size:
        raise TrainingError(
            f"batch size {recipe.batch_size} does not divide by {process.world_size} processes"
        )
    return recipe.batch_size // process.world_size


def unwrapped(batches: Iterator[BatchT]) -> Iterator[BatchT]:
    """The same batches; an error about data loses the traceback that a worker process puts before it."""
    try:
        yield from batches
    except DataError as error:
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error
