"""The training loop: data in, checkpoints and a log out, on one process or several (torchrun)."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from model import recipe as recipes
from model.categories import Category
from model.checkpoint import Checkpoint, save
from model.data import Batch, CocoDataset, MixedBatches, Target, TrainDataset, collate
from model.losses import Losses, losses
from model.preprocess import network_input
from model.rcnn import MaskRCNN
from model.recipe import Recipe


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Process:
    """This process among those of a run (torchrun sets the environment)."""

    rank: int = 0
    world_size: int = 1

    @staticmethod
    def join() -> Process:
        """Join the group of a torchrun launch (gloo on CPUs, nccl on GPUs), or be alone."""
        if "WORLD_SIZE" not in os.environ:
            return Process()
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return Process(dist.get_rank(), dist.get_world_size())

    def device(self) -> torch.device:
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cpu")


class TrainingStep(nn.Module):
    """Losses of one batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, network: MaskRCNN, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(
        self, images: Tensor, sizes: Tensor, targets: Sequence[Target], generator: torch.Generator
    ) -> Losses:
        return losses(
            self.network,
            images,
            sizes,
            targets,
            self.recipe.sampling,
            generator,
            bf16=self.recipe.bf16,
        )


def lr_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to 0 or a tenth at each milestone."""
    if recipe.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * min(step / recipe.steps, 1.0)))
    else:
        factor = 0.1 ** sum(step >= share * recipe.steps for share in recipe.milestones)
    if step < recipe.warmup_steps:
        share = step / recipe.warmup_steps
        factor *= recipe.warmup_factor * (1 - share) + share
    return factor


def optimizer(network: MaskRCNN, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over what trains; no weight decay on norms, a rate of its own for the trunk."""
    norms = {id(p) for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate = recipe.lr * (recipe.backbone_lr if name.startswith("backbone.trunk.") else 1.0)
            decay = 0.0 if id(parameter) in norms else recipe.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    options = [
        {"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(options)
    return torch.optim.SGD(options, momentum=0.9)


def train(
    network: MaskRCNN,
    datasets: Sequence[CocoDataset],
    recipe: Recipe,
    out: Path,
    *,
    process: Process | None = None,
    resume: bool = False,
    workers: int = 1,
    checkpoint_every: int = 200,
    notes: dict[str, str] | None = None,
) -> Path | None:
    """Run a recipe; returns the native checkpoint `out/model.safetensors` (None except on rank 0).

    `out/last.pt` holds everything a resumed run needs; a resumed run sees the batches and the random
    draws that an uninterrupted one would. `out/log.jsonl` has a line every 20 steps.
    """
    process = process or Process()
    device = process.device()
    dataset = TrainDataset(datasets, recipe.augmentation, recipe.seed)
    step_module: nn.Module = TrainingStep(network, recipe)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = optimizer(network, recipe)
    state = out / "last.pt"
    start = _restore(state, network, optimiser) if resume and state.exists() else 0
    if process.world_size > 1:
        step_module = DistributedDataParallel(step_module)
    batches = _batches(dataset, recipe, process, start, workers)
    if process.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.json").write_text(json.dumps(recipes.to_dict(recipe), indent=1))
    progress = tqdm(
        range(start, recipe.steps), initial=start, total=recipe.steps, unit="step", disable=process.rank != 0
    )
    mean: dict[str, float] = {}
    since = time.perf_counter()
    for step in progress:
        values = _step(step_module, optimiser, next(batches), step, recipe, process)
        for name, value in values.items():
            mean[name] = value if name not in mean else 0.95 * mean[name] + 0.05 * value
        if process.rank:
            continue
        progress.set_postfix(loss=f"{sum(mean.values()):.3f}", refresh=False)
        if (step + 1) % 20 == 0:
            now = time.perf_counter()
            speed, since = 20 * recipe.batch_size / (now - since), now
            line = {"step": step + 1, "lr": optimiser.param_groups[0]["lr"], "images_per_second": speed}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line | {k: round(v, 5) for k, v in mean.items()}) + "\n")
        if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps:
            _store(state, network, optimiser, step + 1)
    if process.rank:
        return None
    return export_checkpoint(network, dataset.categories, out, notes or {})


def export_checkpoint(
    network: MaskRCNN, categories: tuple[Category, ...], out: Path, notes: dict[str, str]
) -> Path:
    """Write the network as a native checkpoint, half precision (weights of a served model)."""
    path = out / "model.safetensors"
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    save(path, Checkpoint(network.config, categories, tensors, notes), torch.float16)
    return path


def _step(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    recipe: Recipe,
    process: Process,
) -> dict[str, float]:
    device = process.device()
    step_module: nn.Module = module.module if isinstance(module, DistributedDataParallel) else module
    network = cast(TrainingStep, step_module).network
    images, sizes = network_input(batch.images, network.config.preprocessing)
    targets = [
        Target(t.boxes.to(device), t.classes.to(device), None if t.masks is None else t.masks.to(device))
        for t in batch.targets
    ]
    generator = torch.Generator(device).manual_seed(
        (recipe.seed * 1_000_003 + step) * process.world_size + process.rank
    )
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * lr_factor(step, recipe)
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    found: Losses = module(images, sizes.to(device), targets, generator)
    total = torch.stack(list(found.values())).sum()
    if not torch.isfinite(total):
        parts = ", ".join(f"{name} {value.item():.3g}" for name, value in found.items())
        raise TrainingError(f"the loss is not finite at step {step} ({parts}): try a lower learning rate")
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
    optimiser.step()
    return {name: value.item() for name, value in found.items()}


def _batches(
    dataset: TrainDataset, recipe: Recipe, process: Process, start: int, workers: int
) -> Iterator[Batch]:
    if recipe.batch_size % process.world_size:
        raise TrainingError(
            f"batch size {recipe.batch_size} does not divide by {process.world_size} processes"
        )
    box_only = len(dataset) - dataset.num_masked
    sampler = MixedBatches(
        dataset.num_masked,
        box_only,
        recipe.batch_size // process.world_size,
        seed=recipe.seed,
        box_only_every=recipe.box_only_every if box_only else 0,
        rank=process.rank,
        world_size=process.world_size,
        landscape=dataset.landscape(),
        start=start,
    )
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=workers)
    return iter(loader)


def _store(path: Path, network: MaskRCNN, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Atomically, so that a run killed while writing can still be resumed."""
    temporary = path.with_suffix(".tmp")
    torch.save(
        {"network": network.state_dict(), "optimizer": optimiser.state_dict(), "step": step}, temporary
    )
    temporary.replace(path)


def _restore(path: Path, network: MaskRCNN, optimiser: torch.optim.Optimizer) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimizer"])
    return int(state["step"])
