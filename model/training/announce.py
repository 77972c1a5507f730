"""What a training run says: its data and its plan at the start, what to do next at the end."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from model.data.coco import CocoDataset
from model.data.instance_samples import InstanceTrainingSet
from model.evaluation.coco_ap import listed
from model.training.recipe import Schedule
from model.training.validation import Validation

_SHOWN = 8  # classes


def data(datasets: Sequence[CocoDataset], kept: InstanceTrainingSet) -> list[str]:
    """How many images and instances there are, of which classes; `kept` is what trains of them."""
    empty = sum(not record.annotations for record in kept.records)
    records = [record for dataset in datasets for record in dataset.records]
    left_out, without = len(records) - len(kept), sum(record.left_out for record in records)
    images = [
        f"{kept.num_masked} images with masks" + (f" ({empty} of them without instances)" if empty else ""),
        f"{len(kept) - kept.num_masked} with boxes only",
        *([f"{left_out} left out (no instance to train on)"] if left_out else []),
    ]
    instances = [a for record in kept.records for a in record.annotations]
    masked = sum(a.shape is not None for a in instances)
    counts = Counter(a.category for a in instances)
    classes = [f"{kept.categories[i].name} {count}" for i, count in sorted(counts.items())]
    more = f" and {len(classes) - _SHOWN} more classes" if len(classes) > _SHOWN else ""
    gone = f", {without} left out (crowds and what has no area)" if without else ""
    lines = [
        f"data: {', '.join(images)}",
        f"instances: {masked} with masks, {len(instances) - masked} with boxes only{gone}: "
        f"{', '.join(classes[:_SHOWN])}{more}",
        *(f"warning: {dataset.doubt}" for dataset in datasets if dataset.doubt),
    ]
    if not masked:
        lines.append("warning: not one instance has a mask, so the masks do not train")
    if absent := [c for i, c in enumerate(kept.categories) if not counts[i]]:
        lines.append(f"warning: not one instance of {listed(absent)}: the model cannot learn it")
    return lines


def run(recipe: Schedule, epoch: int, device: torch.device, start: int) -> list[str]:
    """How long it is; `epoch` in steps."""
    epochs = f"{recipe.steps / epoch:.3g} epochs of {epoch} steps"
    begins = f", going on after step {start}" if start else ""
    lines = [f"run: {recipe.steps} steps of {recipe.batch_size} images on {device}, {epochs}{begins}"]
    if recipe.warmup_steps >= recipe.steps:
        lines.append(
            f"warning: the learning rate never reaches its peak, warming up takes {recipe.warmup_steps} steps; "
            f"for a run this short add --set warmup_steps={recipe.steps // 10}"
        )
    return lines


def validation(measured: Validation | None, every: int) -> list[str]:
    """What is measured, and when; `every` in steps."""
    if measured is None:
        return ["validation: none, so AP is not measured; --val-data FILE --val-images FOLDER measure it"]
    doubt = measured.dataset.doubt
    return [
        f"validation: {len(measured.dataset.records)} images of {measured.annotations}, {when(every)}",
        *([f"warning: {doubt}"] if doubt else []),
    ]


def when(every: int) -> str:
    """When it is measured; `every` in steps, 0: never before the end."""
    return f"every {every} steps and after the last one" if every else "after the last step"


def stopped(out: Path) -> str:
    """After Ctrl-C."""
    if (out / "last.pt").exists():
        return f"stopped: the same command with --resume goes on from the last state stored in {out}"
    return "stopped before anything was stored: the same command starts anew"


def next_commands(python: str, checkpoint: Path, val_data: Path | None, val_images: Path | None) -> str:
    """How to evaluate, export and serve a checkpoint; `python` is how this run was started."""
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
