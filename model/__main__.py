"""Command line: `python -m model train`, `python -m model evaluate`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Data = Annotated[
    list[Path], typer.Option("--data", help="COCO-format annotations; repeat for several files.")
]
Images = Annotated[list[Path], typer.Option("--images", help="Folder of their images, one for each --data.")]


@app.command()
def train(
    data: Data,
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and the log.")],
    preset: Annotated[str, typer.Option(help="Model preset; its recipe comes with it.")] = "people",
    steps: Annotated[int | None, typer.Option(help="Length of the run.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, over all processes.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and sampling.")] = 0,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="A classifier's .pth to start a timm trunk from.")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="A checkpoint whose tensors that fit are the start.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from --out's last state.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that read images.")] = 1,
) -> None:
    """Train a preset on COCO-format data. With torchrun, on several processes."""
    import torch

    from model.coco import load_coco
    from model.config import preset as find_preset
    from model.rcnn import MaskRCNN
    from model.recipe import recipe as find_recipe
    from model.start import from_checkpoint, from_classifier
    from model.train import Process
    from model.train import train as run

    if len(data) != len(images):
        raise ValueError(f"{len(data)} --data but {len(images)} --images: give one folder for each file")
    datasets = [load_coco(file, folder) for file, folder in zip(data, images, strict=True)]
    config = dataclasses.replace(find_preset(preset), num_classes=len(datasets[0].categories))
    changes = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = dataclasses.replace(find_recipe(preset), **given)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    network = MaskRCNN(config)
    if backbone_weights is not None:
        from_classifier(network, backbone_weights)
    if start_from is not None:
        print(from_checkpoint(network, start_from))
    notes = {"data": ", ".join(file.name for file in data), "command": " ".join(sys.argv[1:])}
    path = run(
        network, datasets, recipe, out, process=Process.join(), resume=resume, workers=workers, notes=notes
    )
    if path is not None:
        print(f"{path}: evaluate it with\n  python -m model evaluate --checkpoint {path} --data … --images …")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="COCO-format annotations with masks.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Native checkpoint to run.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; needed with --checkpoint.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Instead: a COCO results list, such as `service segment` writes.")
    ] = None,
    resolution: Annotated[str, typer.Option(help="'native' or the side of the box masks.")] = "native",
    points: Annotated[str, typer.Option(help="'auto' or points per level.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write metrics and results as JSON here.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first images (a quick look).")] = None,
) -> None:
    """Box, mask and boundary AP of a checkpoint at its shipped inference settings, or of given results."""
    from model.evaluation import evaluate as score

    if (checkpoint is None) == (results is None):
        raise ValueError("give either --checkpoint or --results")
    if results is not None:
        found = json.loads(results.read_text())
    else:
        found = _predict(checkpoint, data, images, resolution, points, limit)
    metrics = score(data, found)
    for name, value in metrics.items():
        print(f"{name:16} {value:.4f}")
    if out is not None:
        out.write_text(json.dumps({"metrics": metrics, "results": found}))


def _predict(
    checkpoint: Path | None, data: Path, images: Path | None, resolution: str, points: str, limit: int | None
) -> list[dict[str, Any]]:
    """COCO results of a checkpoint on a data set."""
    from model.checkpoint import open_checkpoint
    from model.coco import load_coco
    from model.predict import Options, Predictor, coco_results, parse_points, parse_resolution

    if checkpoint is None or images is None:
        raise ValueError("--checkpoint needs --images")
    opened = open_checkpoint(checkpoint)
    options = Options(
        resolution=parse_resolution(resolution),
        points=parse_points(points),
        score=opened.config.box.score_threshold,
    )
    return coco_results(Predictor.eager(opened), load_coco(data, images), options, limit=limit)


if __name__ == "__main__":
    try:
        app()
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
