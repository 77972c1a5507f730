"""`python -m model train`: train a preset on data of its task."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.cli.output import check_folder
from model.errors import UserError

if TYPE_CHECKING:
    from model.config.network import NetworkConfig
    from model.training.distributed import Process
    from model.training.recipe import Recipe
    from model.training.task import TrainingTask

_NETWORK = "network."  # before the name of a change that is the network's, not the recipe's


def train(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            help="COCO-format annotations, or for a semantic preset the JSON file of the label maps' classes; "
            "repeat for several.",
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Option(
            "--images",
            help="Folder of their images (with label maps: of images/ and labels/), one for each --data.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, the log, curves and pictures.")],
    preset: Annotated[str, typer.Option(help="Model preset; its recipe comes with it.")] = "people",
    val_data: Annotated[
        Path | None,
        typer.Option(
            help="COCO-format annotations to measure AP on while training; of label maps, as --data."
        ),
    ] = None,
    val_images: Annotated[Path | None, typer.Option(help="Folder of their images.")] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps; an epoch unless given. 0: only after the last step, where it always is."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the run.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, over all processes.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and sampling.")] = 0,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a part of the recipe, or of the network (with network. before it): name=value, "
            "such as augmentation.crop=0.5 or network.preprocessing.short_edge=448. Repeat for several.",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="An ImageNet classifier to start the trunk from: .pth or .pkl.")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="A checkpoint, also the reference's: what fits of it is the start.")
    ] = None,
    one_class: Annotated[
        str | None,
        typer.Option(help="Train one class of this name, whatever the categories of the COCO files are."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from --out's last state.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 1,
) -> None:
    """Train a preset on COCO-format data or label maps. With torchrun, on several processes."""
    # Imported here so that the help need not wait for PyTorch.
    import torch

    from model.training.distributed import Process
    from model.training.loop import train as run
    from model.training.reports import announce
    from model.training.task import TrainingFiles
    from model.training.tasks import open_task

    if len(data) != len(images):
        raise UserError(f"{len(data)} --data but {len(images)} --images: give one folder for each file")
    options = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    config, recipe = _plan(preset, given, change or [])
    check_folder(out)
    torch.manual_seed(seed)  # of the network's random weights
    files = TrainingFiles(list(zip(data, images, strict=True)), val_data, val_images, one_class)
    task = open_task(config, recipe, files)
    notes = {"data": ", ".join(file.name for file in data), "command": strip_paths(sys.argv[1:])}
    with Process.join() as process:
        started = _initialise(task, backbone_weights, start_from, process)
        freeze_at = config.backbone.freeze_at
        if freeze_at > 0 and not (started or (resume and (out / "last.pt").exists())):
            process.say(
                "warning: the trunk starts from random weights and its first stages stay so (freeze_at "
                f"{freeze_at}); give --backbone-weights or --start-from"
            )
        try:
            path = run(
                task,
                out,
                process=process,
                resume=resume,
                workers=workers,
                validate_every=validate_every,
                notes=notes,
            )
        except KeyboardInterrupt:
            process.say(announce.stopped(out))
            raise typer.Exit(130) from None
    if path is not None:
        print(announce.next_commands(sys.orig_argv[0], path, task.validation_file, val_images))


def strip_paths(arguments: Sequence[str]) -> str:
    """Return a command line without folders: a checkpoint may travel, the names of its author's folders should not."""

    def stripped(part: str) -> str:
        return Path(part).name if "/" in part else part

    # An option may hold its value, as --data=FILE does.
    return " ".join("=".join(map(stripped, argument.split("="))) for argument in arguments)


def _plan(preset: str, given: dict[str, int | float], changes: Sequence[str]) -> tuple[NetworkConfig, Recipe]:
    """Return the preset's configuration and recipe with what the command line changes. Raises UserError."""
    from model.config.network import changed
    from model.config.overrides import override
    from model.config.presets import preset as find_preset
    from model.training.recipes import RECIPES

    of_network = [c.removeprefix(_NETWORK) for c in changes if c.startswith(_NETWORK)]
    of_recipe = [c for c in changes if not c.startswith(_NETWORK)]
    config = changed(find_preset(preset), of_network)
    recipe = dataclasses.replace(RECIPES[preset], **given)  # type: ignore[arg-type]
    return config, override(recipe, of_recipe)


def _initialise(
    task: TrainingTask[Any], backbone_weights: Path | None, start_from: Path | None, process: Process
) -> bool:
    """Fill the task's network from the given files; return whether there were any."""
    from model.checkpoints.classifiers import from_classifier
    from model.checkpoints.initial_weights import from_checkpoint

    if backbone_weights is not None:
        process.say(from_classifier(task.network, backbone_weights))
    if start_from is not None:
        process.say(from_checkpoint(task.network, start_from, task.categories))
    return backbone_weights is not None or start_from is not None
