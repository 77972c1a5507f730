"""The command `python -m export`."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from export.errors import ParityError
from model.command_line import one_line_errors
from model.errors import UserError


def export(
    checkpoint: Annotated[Path, typer.Option(help="Native .safetensors, or the reference's .pkl or .pth.")],
    out: Annotated[
        Path, typer.Option(help="The bundle's folder; an older bundle of the same checkpoint is replaced.")
    ],
    preset: Annotated[str | None, typer.Option(help="The network of a .pkl or .pth file.")] = None,
    config: Annotated[Path | None, typer.Option(help="The reference's own config.yaml instead.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, comma-separated, where the checkpoint has none.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Name of the weights' licence, such as Apache-2.0; /models shows it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; the folder's unless given.")] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="An ONNX detector in front of the mask head: it finds the boxes (docs/detector.md)."
        ),
    ] = None,
    detector_settings: Annotated[
        Path | None,
        typer.Option(
            help="YAML file that says how it is used; DETECTOR.yaml beside DETECTOR.onnx unless given."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a part of the network, such as preprocessing.short_edge=640: a larger input has more detail "
            "and takes longer.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option(help="Compare on small images only.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a bundle of another checkpoint, too.")
    ] = False,
) -> None:
    """Turn a checkpoint into a bundle, and prove that the bundle is the network."""
    # Imported here so that the help need not wait for PyTorch.
    from export.bundle import sha256
    from export.detector.settings import read_settings
    from export.measurements import table
    from export.write import DetectorFile, check_mask_head, check_out, write_bundle
    from model.checkpoints.opening import open_named
    from model.config.categories import Category
    from model.config.network import changed

    categories: tuple[Category, ...] | None = None
    if classes:
        names = [label.strip() for label in classes.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise UserError(f"--classes needs different names that are not empty, got {classes!r}")
        categories = tuple(Category(i, label) for i, label in enumerate(names, 1))
    if detector_settings is not None and detector is None:
        raise UserError("--detector-settings goes with --detector")
    chosen = None
    if detector is not None:
        chosen = DetectorFile(detector, read_settings(detector_settings or detector.with_suffix(".yaml")))
    source = {"checkpoint": checkpoint.name, "sha256": sha256(checkpoint)}
    if change:
        source["changes"] = " ".join(change)
    if licence:
        source["licence"] = licence
    check_out(out, source, replace)
    opened = open_named(checkpoint, preset, config, categories)
    opened = dataclasses.replace(opened, config=changed(opened.config, change or []))
    if chosen is not None:
        check_mask_head(opened)
    print(f"exporting {checkpoint.name} to {out} (the graph takes a minute or two)", flush=True)
    report = write_bundle(
        opened,
        out,
        name=name or out.resolve().name,
        source=source,
        full_size=not quick,
        replace=replace,
        detector=chosen,
    )
    print(f"network against exported bundle, the largest differences:\n{table(report)}\n{out}: passed")


# Not `typer.run`: its own error pages hide one-line messages behind a traceback.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(export)


def run() -> None:
    """Run the command that was given, and end with its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the unfinished bundle is cleared away
    with one_line_errors(ParityError):
        app()
