"""`python -m bench.speed.train_speed`: images per second in training, by memory layout, precision and frozen stages.

With two processes of one thread each:
`OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m bench.speed.train_speed …`;
With another allocator: `LD_PRELOAD=…/libtcmalloc_minimal.so.4 python -m bench.speed.train_speed …`.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from model.checkpoints.initial_weights import from_checkpoint
from model.command_line import one_line_errors
from model.config.overrides import override
from model.config.presets import preset as find_preset
from model.errors import UserError
from model.training.distributed import Process
from model.training.loop import training_step
from model.training.optimizer import optimizer, rates
from model.training.recipes import RECIPES
from model.training.task import TrainingFiles
from model.training.tasks import open_task

LAYOUTS = ("trunk", "all", "none")


def main(
    data: Annotated[list[Path], typer.Option(help="COCO-format annotations; repeat for several files.")],
    images: Annotated[list[Path], typer.Option(help="Folder of their images, one for each --data.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Starting weights: a trained RPN proposes fewer boxes.")
    ] = None,
    preset: Annotated[str, typer.Option()] = "people",
    layout: Annotated[
        str, typer.Option(help="The part that is channels-last: trunk (as in training), all, none.")
    ] = "trunk",
    steps: Annotated[int, typer.Option(min=1, help="Timed steps, after two to warm up.")] = 12,
    change: Annotated[list[str] | None, typer.Option("--set", help="As in `python -m model train`.")] = None,
) -> None:
    """Time the first steps of a run. All batches are read before the clock starts."""
    if layout not in LAYOUTS:
        raise UserError(f"layout must be trunk, all or none, got {layout!r}")
    changes = change or []
    config = override(
        find_preset(preset), [c.removeprefix("network.") for c in changes if c.startswith("network.")]
    )
    recipe = override(RECIPES[preset], [c for c in changes if not c.startswith("network.")])
    torch.manual_seed(0)
    task = open_task(config, recipe, TrainingFiles(list(zip(data, images, strict=True))))
    network = task.network
    with Process.join() as process:
        if checkpoint is not None:
            from_checkpoint(network, checkpoint)
        network.train()
        if layout != "none":
            part = network if layout == "all" else network.backbone.trunk
            part.to(memory_format=torch.channels_last)
        module = task.step
        if process.world_size > 1:
            module = DistributedDataParallel(module)
        optimiser = optimizer(network, recipe)
        scheduler = rates(optimiser, recipe)
        batches = task.batches(process, 0, 1)
        ready = [next(batches) for _ in range(steps + 2)]
        begin = 0.0
        for step, batch in enumerate(tqdm(ready, unit="step", disable=process.rank != 0)):
            if step == 2:
                begin = time.perf_counter()
            losses = partial(task.losses, module, batch)
            training_step(losses, optimiser, scheduler, step, recipe, process)
        seconds = (time.perf_counter() - begin) / steps
        process.say(
            f"{process.world_size} × {torch.get_num_threads()} threads, channels-last: {layout}: "
            f"{seconds:.2f} s a step, {recipe.batch_size / seconds:.2f} images/s"
        )


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
