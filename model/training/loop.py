"""The training loop of any task: steps, averaged weights, stored states, a log, validations, the checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from model.checkpoints.checkpoint import Checkpoint, save
from model.networks.build import Network
from model.networks.layers import hold_depthwise, hold_statistics
from model.progress import progress
from model.training.averaged_weights import averaged_weights
from model.training.distributed import Process
from model.training.errors import LossNotFinite, TrainingError
from model.training.optimizer import lr_factor, optimizer, rates
from model.training.recipe import Schedule
from model.training.reports import announce
from model.training.reports.curves import draw_curves
from model.training.reports.log import Log, cut
from model.training.reports.pace import Pace
from model.training.reports.validation import record
from model.training.state import restore, store
from model.training.task import BatchT, TrainingTask

LOG_EVERY = 20  # steps


def train(
    task: TrainingTask[BatchT],
    out: Path,
    *,
    process: Process | None = None,
    resume: bool = False,
    workers: int = 1,
    checkpoint_every: int = 200,
    validate_every: int | None = None,
    notes: Mapping[str, str] | None = None,
) -> Path | None:
    """Train; return the checkpoint `out/model.safetensors` (None except on rank 0).

    The checkpoint holds the averaged weights if the recipe has them, in half precision, and the notes.
    `out/last.pt` holds everything a resumed run needs; a resumed run sees the batches and the random
    draws that an uninterrupted one would (torch's global generator, which dropout draws from, is seeded
    anew at every step). `out/log.jsonl` has a line every 20 steps and at the last one.

    Every `validate_every` steps (None: every epoch of at least 20; 0: never before the end) and after the last one
    the state is stored, the curves are drawn, and the weights that would be exported are measured; that
    changes nothing in the training. Raises TrainingError, LossNotFinite, and DataError when a batch is read.
    """
    process = process or Process()
    state, recipe, network = out / "last.pt", task.recipe, task.network
    if state.exists() and not resume:
        raise TrainingError(f"{state} is there already: add --resume to go on, or choose another folder")
    _prepare(network, recipe, process.device())
    optimiser = optimizer(network, recipe)
    average = averaged_weights(network, recipe.ema) if recipe.ema and process.rank == 0 else None
    exported = network if average is None else cast(Network, average.module)
    stored_average = None if average is None else exported
    start = restore(state, network, task.categories, optimiser, stored_average) if state.exists() else 0
    if average is not None:
        average.n_averaged += start
    scheduler = rates(optimiser, recipe, start)
    every = max(task.epoch, LOG_EVERY) if validate_every is None else validate_every
    if process.rank == 0:
        if resume and not state.exists():
            process.say(f"there is no {state} to resume from: starting anew")
        _announce(task, out, process, start, every)
    wrapped: nn.Module = DistributedDataParallel(task.step) if process.world_size > 1 else task.step
    batches = task.batches(process, start, workers)
    if process.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe), indent=1))
        log = Log(out / "log.jsonl", start, recipe.batch_size)
        cut(out / "validation.jsonl", start)
    # Closed also when the run breaks off, so that what is said then has a line of its own.
    with progress(
        range(start, recipe.steps), unit="step", done=start, total=recipe.steps, silent=process.rank != 0
    ) as bar:
        pace = Pace(start, recipe.steps, watched=not bar.disable)
        say = process.say if bar.disable else bar.write
        for step in bar:
            losses = partial(task.losses, wrapped, next(batches))
            values = training_step(losses, optimiser, scheduler, step, recipe, process)
            if process.rank:
                continue
            if average is not None:
                average.update_parameters(network)
            loss, done, is_last = log.add(values), step + 1, step + 1 == recipe.steps
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if said := pace.step(done, loss):
                say(said)
            if done % LOG_EVERY == 0 or is_last:
                log.write(done, recipe.lr * lr_factor(step, recipe))
            due = is_last or (every > 0 and done % every == 0)
            if done % checkpoint_every == 0 or due:
                store(state, network, task.categories, optimiser, done, stored_average)
            if due:
                # The other processes wait in their next step: Process.join gives them hours for it.
                if task.validation_file is not None:
                    with evaluating(exported):
                        measured = task.measure(exported)
                    say(record(out, done, done / task.epoch, measured, task.headline))
                draw_curves(out, task.headline)
                log.restart_clock(done)
                pace.pause_ended()
    return None if process.rank else _export(task, exported, out, notes or {})


def training_step(
    losses: Callable[[torch.device, torch.Generator], dict[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    scheduler: LRScheduler,
    step: int,
    recipe: Schedule,
    process: Process,
) -> dict[str, float]:
    """Run forward, backward and update; return the losses' values. Raises LossNotFinite."""
    seed = (recipe.seed * 1_000_003 + step) * process.world_size + process.rank
    torch.manual_seed(seed)
    device = process.device()
    generator = torch.Generator(device).manual_seed(seed)
    found = losses(device, generator)
    total = torch.stack(list(found.values())).sum()
    if not torch.isfinite(total):
        parts = ", ".join(f"{name} {value.item():.3g}" for name, value in found.items())
        raise LossNotFinite(f"the loss is not finite at step {step} ({parts}): try a lower learning rate")
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if recipe.clip_norm:
        trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
    optimiser.step()
    scheduler.step()
    return {name: value.item() for name, value in found.items()}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and afterwards each part back into its own: frozen norms never train."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _prepare(network: Network, recipe: Schedule, device: torch.device) -> None:
    """Put a network on its device, into training mode, and its trunk into the memory layout that trains fastest."""
    network.to(device).train()
    if recipe.freeze_norms:
        hold_statistics(network)
    if recipe.freeze_depthwise:
        hold_depthwise(network.backbone.trunk)
    network.backbone.trunk.to(memory_format=torch.channels_last)


def _announce(task: TrainingTask[BatchT], out: Path, process: Process, start: int, every: int) -> None:
    lines = [
        *task.describe_data(),
        *announce.plan(task.recipe, task.epoch, process.device(), start),
        *task.describe_validation(every),
        f"files: {out}",
    ]
    for line in lines:
        process.say(line)


def _export(task: TrainingTask[BatchT], network: Network, out: Path, notes: Mapping[str, str]) -> Path:
    """Write the network as a native checkpoint, in half precision (weights of a served model)."""
    path = out / "model.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save(path, Checkpoint(network.config, task.categories, tensors, dict(notes), task.palette), torch.float16)
    return path
