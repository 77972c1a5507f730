"""What a training run says: its plan at the start, what to do next at the end."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch

from model.training.recipe import Schedule


def plan(recipe: Schedule, epoch: int, device: torch.device, start: int) -> list[str]:
    """Return how long a run is; `epoch` in steps."""
    count = recipe.steps / epoch
    plural = "s" if epoch > 1 else ""
    epochs = f"{count:.3g}" if count < 1000 else f"{count:.0f}"
    epochs += f" epochs of {epoch} step{plural}"
    begins = f", going on after step {start}" if start else ""
    lines = [f"run: {recipe.steps} steps of {recipe.batch_size} images on {device}, {epochs}{begins}"]
    if recipe.warmup_steps >= recipe.steps:
        lines.append(
            f"warning: the learning rate never reaches its peak, warming up takes {recipe.warmup_steps} steps; "
            f"for a run this short add --set warmup_steps={recipe.steps // 10}"
        )
    return lines


def when(every: int) -> str:
    """Return when a run is measured; `every` in steps, 0: never before the end."""
    return f"every {every} steps and after the last one" if every else "after the last step"


def stopped(out: Path) -> str:
    """Return what to do after Ctrl-C."""
    if (out / "last.pt").exists():
        return f"stopped: the same command with --resume goes on from the last state stored in {out}"
    return "stopped before anything was stored: the same command starts anew"


def next_commands(python: str, checkpoint: Path, val_data: Path | None, val_images: Path | None) -> str:
    """Return how to evaluate, export and serve a checkpoint; `python` is how this run was started."""
    bundle = Path("bundles") / checkpoint.resolve().parent.name
    commands = [
        ["evaluate", "--checkpoint", checkpoint, "--data", val_data or "…", "--images", val_images or "…"],
        ["--checkpoint", checkpoint, "--out", bundle],
        ["serve", "--bundle", bundle],
    ]
    modules = ("model", "export", "service")
    written = [
        shlex.join([python, "-m", module, *map(str, arguments)]).replace("'…'", "…")
        for module, arguments in zip(modules, commands, strict=True)
    ]
    return "\n  ".join([f"{checkpoint} is the result. Next:", *written])
