"""`python -m model evaluate`: measure a checkpoint, or results that are there already."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from model.cli.output import check_output
from model.errors import UserError


def evaluate(
    data: Annotated[
        Path,
        typer.Option(help="COCO-format annotations with masks, or the JSON file of label maps' classes."),
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Native .safetensors, or the reference's .pkl or .pth, to run.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; needed with --checkpoint.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Instead: a COCO results list (`service segment --format coco`) or an earlier --out."
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="The network of a .pkl or .pth file.")] = None,
    config: Annotated[Path | None, typer.Option(help="The reference's own config.yaml instead.")] = None,
    resolution: Annotated[
        str, typer.Option(help="'native', or the side of box masks or height of label maps.")
    ] = "native",
    points: Annotated[str, typer.Option(help="'auto' or points per level.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="JSON file for the metrics (null: not measured) and the results.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images (a quick look).")] = None,
    true_boxes: Annotated[
        bool, typer.Option("--true-boxes", help="Masks in the annotated boxes: AP, IoU and boundary IoU.")
    ] = False,
    one_class: Annotated[
        bool,
        typer.Option("--one-class", help="All categories count as the only class of the checkpoint."),
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a part of the network, such as preprocessing.short_edge=448."),
    ] = None,
) -> None:
    """Measure a checkpoint at its shipped inference settings, or given results: AP, or IoU of label maps."""
    # Imported here so that the help need not wait for PyTorch.
    from model.checkpoints.opening import open_named
    from model.config.network import changed
    from model.evaluation.evaluate import evaluate as run
    from model.evaluation.instance import evaluate_results
    from model.evaluation.report import write_report
    from model.evaluation.settings import EvaluationSettings

    if (checkpoint is None) == (results is None):
        raise UserError("give either --checkpoint or --results")
    if preset and config:
        raise UserError("give --preset or --config, not both")
    of_checkpoints = preset or config or images or limit or change or true_boxes or one_class
    if results is not None and (of_checkpoints or resolution != "native" or points != "auto"):
        raise UserError(
            "--preset, --config, --images, --resolution, --points, --limit, --true-boxes, --one-class and --set "
            "go with --checkpoint, not with --results"
        )
    if true_boxes and one_class:
        raise UserError(
            "give --true-boxes or --one-class, not both: a checkpoint of one class takes all boxes"
        )
    if out is not None:
        check_output(out)
    if results is not None:
        report = evaluate_results(results, data)
    elif checkpoint is None or images is None:
        raise UserError("--checkpoint needs --images")
    else:
        opened = open_named(checkpoint, preset, config)
        opened = dataclasses.replace(opened, config=changed(opened.config, change or []))
        settings = EvaluationSettings(
            resolution,
            points,
            limit,
            true_boxes=true_boxes,
            one_class=one_class,
            notify=lambda remark: print(remark, file=sys.stderr),
        )
        report = run(opened, data, images, settings)
    print(report.text)
    if out is not None:
        write_report(out, report)
