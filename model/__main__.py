"""Command line: `python -m model train`, `python -m model evaluate`, for either task."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Data = Annotated[
    list[Path],
    typer.Option(
        "--data",
        help="COCO-format annotations, or for a semantic preset the JSON file of the label maps' classes; "
        "repeat for several.",
    ),
]
Images = Annotated[
    list[Path],
    typer.Option(
        "--images",
        help="Folder of their images (with label maps: of images/ and labels/), one for each --data.",
    ),
]


@app.command()
def train(
    data: Data,
    images: Images,
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
    resume: Annotated[bool, typer.Option(help="Go on from --out's last state.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that read images.")] = 1,
) -> None:
    """Train a preset on COCO-format data or label maps. With torchrun, on several processes."""
    import torch

    from model.checkpoints.initial_weights import from_checkpoint, from_classifier
    from model.config.overrides import override
    from model.config.presets import preset as find_preset
    from model.training import announce
    from model.training.distributed import Process
    from model.training.job import instance_job, semantic_job
    from model.training.run_files import bare

    if len(data) != len(images):
        raise ValueError(f"{len(data)} --data but {len(images)} --images: give one folder for each file")
    changes = change or []
    of_network = [c.removeprefix("network.") for c in changes if c.startswith("network.")]
    of_recipe = [c for c in changes if not c.startswith("network.")]
    config = override(find_preset(preset), of_network)
    options = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    sources = list(zip(data, images, strict=True))
    torch.manual_seed(seed)
    if config.task == "semantic":
        job = semantic_job(preset, config, given, of_recipe, sources, val_data, val_images)
    else:
        job = instance_job(preset, config, given, of_recipe, sources, val_data, val_images)
    notes = {"data": ", ".join(file.name for file in data), "command": bare(sys.argv[1:])}
    freeze_at = config.backbone.freeze_at
    with Process.join() as process:
        if backbone_weights is not None:
            process.say(from_classifier(job.network, backbone_weights))
        if start_from is not None:
            process.say(from_checkpoint(job.network, start_from))
        resumed = resume and (out / "last.pt").exists()
        if freeze_at > 0 and not (backbone_weights or start_from or resumed):
            process.say(
                "warning: the trunk starts from random weights and its first stages stay so (freeze_at "
                f"{freeze_at}); give --backbone-weights or --start-from"
            )
        try:
            path = job.run(
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
        print(announce.next_commands(sys.orig_argv[0], path, job.val_data, val_images))


@app.command()
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
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a part of the network, such as preprocessing.short_edge=448."),
    ] = None,
) -> None:
    """How good a checkpoint is at its shipped inference settings, or given results: AP, or IoU of label maps."""
    from model.checkpoints.checkpoint import of_task
    from model.checkpoints.opening import open_named
    from model.config.overrides import override
    from model.data.coco import load_coco
    from model.evaluation import coco_ap as evaluation
    from model.evaluation.semantic import evaluate_checkpoint
    from model.predict.instance import InstanceOptions, parse_points, parse_resolution

    if (checkpoint is None) == (results is None):
        raise ValueError("give either --checkpoint or --results")
    if results is not None and (preset or config or limit or change):
        raise ValueError("--preset, --config, --limit and --set go with --checkpoint, not with --results")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir() or not os.access(out.parent, os.W_OK):
            raise ValueError(f"--out {out} cannot be written: name a file in a folder of yours")
    if results is not None:
        found = evaluation.read_results(results)
    elif checkpoint is None or images is None:
        raise ValueError("--checkpoint needs --images")
    else:
        opened = open_named(checkpoint, preset, config)
        opened = dataclasses.replace(opened, config=override(opened.config, change or []))
        if opened.config.task == "semantic":
            print(
                evaluate_checkpoint(of_task(opened, "semantic"), data, images, resolution, points, limit, out)
            )
            return
        asked = InstanceOptions(resolution=parse_resolution(resolution), points=parse_points(points))
        opened = of_task(opened, "instance")
        dataset = load_coco(data, images)
        classes = evaluation.match_classes(opened, dataset.categories)
        if len(classes) < len(dataset.categories):
            names = evaluation.listed(tuple(classes.values()))
            print(f"measured are only the categories that the checkpoint knows: {names}", file=sys.stderr)
        found = evaluation.predict(opened, dataset, classes, asked, limit)
    metrics = evaluation.evaluate(data, found.entries, found.category_ids, found.image_ids)
    for name, value in metrics.items():
        print(f"{name:16} {'–' if math.isnan(value) else f'{value:.4f}'}")
    if out is not None:
        evaluation.write_results(out, metrics, found)


@app.command()
def label(
    data: Annotated[Path, typer.Option(help="COCO-format annotations, some with boxes alone.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    checkpoint: Annotated[Path, typer.Option(help="Native .safetensors of a trained model.")],
    out: Annotated[Path, typer.Option(help="The same file with masks in it.")],
    least_side: Annotated[float, typer.Option(min=0, help="Pixels; narrower boxes stay boxes.")] = 16,
    certainty: Annotated[
        float, typer.Option(min=0, max=1, help="Masks that the model is less sure of stay boxes.")
    ] = 0.8,
) -> None:
    """Give masks to annotations that have only a box, so that they train masks, too (self-training)."""
    import json

    from model.checkpoints.checkpoint import of_task, open_checkpoint
    from model.checkpoints.eager import eager_predictor
    from model.data.coco import load_coco
    from model.training.pseudo_label import label as run
    from model.training.pseudo_label import with_masks

    dataset = load_coco(data, images)
    predictor = eager_predictor(of_task(open_checkpoint(checkpoint), "instance"))
    out.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(data.read_text(encoding="utf-8-sig"))
    found: dict[int, Any] = {}
    try:
        for masks in run(predictor, dataset, least_side, certainty):
            found |= masks
    finally:  # of an interrupted run, too: with its `out` as --data the next one goes on
        out.write_text(json.dumps(with_masks(content, found)), encoding="utf-8")
    boxes = sum(a.shape is None for r in dataset.records for a in r.annotations)
    print(f"{out}: masks for {len(found)} of {boxes} boxes")


@app.command()
def calibrate(
    checkpoint: Annotated[Path, typer.Option(help="Native .safetensors of a trained model.")],
    data: Annotated[Path, typer.Option(help="COCO-format annotations it was not trained on.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    out: Annotated[Path, typer.Option(help="The same model with calibrated scores.")],
) -> None:
    """Make scores of boxes mean what they say: of those at 0.7, seven in ten shall be right.

    With `mask_score` in its configuration the model still multiplies them by what it expects of the masks.
    """
    import json

    import torch

    from model.checkpoints.checkpoint import of_task, open_checkpoint, save
    from model.data.coco import load_coco
    from model.evaluation import calibration

    opened = of_task(open_checkpoint(checkpoint), "instance")
    found = calibration.detections(opened, load_coco(data, images))
    scores, hits = calibration.right(json.loads(data.read_text(encoding="utf-8-sig")), found)
    platt = calibration.fit(scores, hits)
    save(out, calibration.bake(opened, platt), torch.float16)
    print(
        f"{out}: scores become sigmoid({platt.scale:.3f} · logit + {platt.shift:.3f}); of the boxes right are"
    )
    for low, high, count, share in calibration.reliability(
        scores, hits, (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.01)
    ):
        new = f"{platt(low):.3f}–{platt(min(high, 0.9999)):.3f}"
        print(f"  {share:4.0%} of {count} with scores of {low:g}–{min(high, 1.0):g}, which become {new}")


if __name__ == "__main__":
    try:
        app()
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
