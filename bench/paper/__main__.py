"""Command line: `python -m bench.paper`, the comparisons of docs/paper.md."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.paper import adaptive as adaptively
from bench.paper import cost as costs
from bench.paper import crops as pictures
from bench.paper import measure as measures
from bench.paper import plot as plots
from bench.paper import report, training
from bench.paper import semantic as semantically
from bench.paper import semantic_adaptive as label_maps
from bench.paper.detector import Detector
from bench.paper.files import read_heads
from bench.paper.semantic_points import at_points
from model.checkpoints.checkpoint import open_semantic
from model.checkpoints.semantic_eager import eager_semantic
from model.config.overrides import override
from model.data.coco import load_coco
from model.data.label_maps import load_label_maps
from model.evaluation import coco_ap as evaluation
from model.predict.instance import InstanceOptions
from model.training.recipe import recipe as find_recipe
from model.training.semantic_recipe import semantic_recipe

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Checkpoint = Annotated[Path, typer.Option(help="Native .safetensors with PointRend's mask head.")]
Heads = Annotated[Path, typer.Option(help="What `train` wrote over this checkpoint.")]
Data = Annotated[Path, typer.Option(help="COCO-format annotations with masks.")]
Images = Annotated[Path, typer.Option(help="Folder of their images.")]
SemanticCheckpoint = Annotated[
    Path, typer.Option(help="Native .safetensors of a semantic network with PointRend.")
]
Classes = Annotated[Path, typer.Option(help="JSON file of the label maps' classes.")]
Labelled = Annotated[Path, typer.Option(help="Folder with images/ and labels/.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first images (a quick look).")]

HEADS_JSON, ADAPTIVE_JSON = Path("docs/paper/heads.json"), Path("docs/paper/adaptive.json")
SEMANTIC_JSON, THIN_CLASSES = Path("docs/paper/semantic.json"), "pole,sign,pedestrian,cyclist"
LABEL_MAPS_JSON = Path("docs/paper/semantic_adaptive.json")
COST_JSON, FIGURES = Path("docs/paper/cost.json"), Path("docs/images")


@app.command()
def train(
    checkpoint: Checkpoint,
    data: Annotated[list[Path], typer.Option(help="COCO-format annotations; repeat for several files.")],
    images: Annotated[list[Path], typer.Option(help="Folder of their images, one for each --data.")],
    out: Annotated[Path, typer.Option(help="Folder for the state, the log and the heads.")] = Path(
        "runs/paper"
    ),
    steps: Annotated[int, typer.Option(help="Length of the run.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 4,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of every head.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and sampling.")] = 0,
    preset: Annotated[
        str, typer.Option(help="Whose recipe: augmentation, sampling, decay, clipping.")
    ] = "people",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a part of the recipe: name=value. Repeat for several."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from --out's last state.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 1,
) -> None:
    """Train all heads at once over the checkpoint's frozen backbone and detector."""
    if len(data) != len(images):
        raise ValueError(f"{len(data)} --data but {len(images)} --images: give one folder for each file")
    recipe = override(training.recipe_of(find_recipe(preset), steps, batch_size, lr, seed), change or [])
    datasets = [load_coco(file, folder) for file, folder in zip(data, images, strict=True)]
    detector = Detector.open(checkpoint)
    # An index of the data is an output of the detector: they must be the same classes in the same order.
    own, theirs = detector.checkpoint.categories, datasets[0].categories
    if [c.name for c in own] != [c.name for c in theirs]:
        known, given = evaluation.listed(own), evaluation.listed(theirs)
        raise ValueError(f"the checkpoint's classes ({known}) are not the data's ({given})")
    path = training.train(detector, datasets, recipe, out, resume=resume, workers=workers)
    print(
        f"{path}: measure it with\n  python -m bench.paper measure --checkpoint {checkpoint} --heads {path} …"
    )


@app.command()
def measure(
    checkpoint: Checkpoint,
    heads: Heads,
    data: Data,
    images: Images,
    out: Annotated[Path, typer.Option(help="JSON file for the measurements.")] = HEADS_JSON,
    limit: Limit = None,
) -> None:
    """AP of every head by output side, on the same detections; and IoU inside the true boxes."""
    detector, dataset = Detector.open(checkpoint), load_coco(data, images)
    trained = read_heads(heads, detector.checkpoint.config, detector.sha256)
    classes = evaluation.match_classes(detector.checkpoint, dataset.categories)
    precision = measures.average_precision(detector, trained, data, dataset, classes, limit)
    overlap = measures.summary(*measures.in_true_boxes(detector, trained, dataset, classes, limit))
    source = {"checkpoint_sha256": detector.sha256, "images": len(dataset.records[:limit])}
    report.write(out, source | {"precision": precision, "true_boxes": overlap})
    print(report.precision_tables(precision), report.overlap_tables(overlap), sep="\n\n")


@app.command()
def cost(out: Annotated[Path, typer.Option(help="JSON file for the counts.")] = COST_JSON) -> None:
    """Multiply-accumulates and activations of one 224×224 mask, counted as executed (paper Table 2)."""
    found = costs.measure()
    report.write(out, dataclasses.asdict(found))
    print(report.cost_table(found))


@app.command()
def adaptive(
    checkpoint: Checkpoint,
    data: Data,
    images: Images,
    out: Annotated[Path, typer.Option(help="JSON file for the measurements.")] = ADAPTIVE_JSON,
    score: Annotated[float, typer.Option(help="Least score of the instances.")] = 0.5,
    limit: Limit = None,
) -> None:
    """The checkpoint's own masks, rendered adaptively, against the same evaluated at every cell."""
    predictor = Detector.open(checkpoint).predictor
    found = adaptively.curves(predictor, load_coco(data, images), InstanceOptions(score=score), limit)
    report.write(out, found)
    print(report.adaptive_table(found))


@app.command()
def semantic(
    checkpoint: Annotated[
        list[Path], typer.Option(help="Native .safetensors of a semantic network; repeat for several.")
    ],
    data: Classes,
    images: Labelled,
    out: Annotated[Path, typer.Option(help="JSON file for the measurements.")] = SEMANTIC_JSON,
    classes: Annotated[str, typer.Option(help="Of the second table, comma-separated.")] = THIN_CLASSES,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a part of every network, such as preprocessing.short_edge=360. Repeat for several.",
        ),
    ] = None,
    limit: Limit = None,
) -> None:
    """IoU and boundary IoU of label maps, points and time (paper Tables 6 and 7)."""
    found = semantically.compare(checkpoint, load_label_maps(data, images), change or [], limit)
    report.write(out, found)
    print(semantically.tables(found, classes.split(",")))


@app.command()
def semantic_adaptive(
    checkpoint: SemanticCheckpoint,
    data: Classes,
    images: Labelled,
    out: Annotated[Path, typer.Option(help="JSON file for the measurements.")] = LABEL_MAPS_JSON,
    every: Annotated[int, typer.Option(min=1, help="Only every Nth image (a quick look).")] = 1,
) -> None:
    """The checkpoint's own label maps, rendered adaptively, against the same evaluated at every cell."""
    predictor = eager_semantic(open_semantic(checkpoint))
    found = label_maps.curves(predictor, load_label_maps(data, images), every)
    report.write(out, found)
    print(label_maps.agreement_table(found))


@app.command()
def semantic_points(
    checkpoint: SemanticCheckpoint,
    data: Classes,
    images: Labelled,
    count: Annotated[int, typer.Option(min=1, help="Augmented images to draw.")] = 48,
) -> None:
    """The point head against its base at points drawn as in training."""
    opened, recipe = (
        open_semantic(checkpoint),
        dataclasses.replace(semantic_recipe("street_fpn"), points=2048),
    )
    for name, found in at_points(opened, load_label_maps(data, images), recipe, count).items():
        print(f"{name:12} cross-entropy {found['cross_entropy']:.3f}, right {found['right']:.1%}")


@app.command()
def plot(
    heads: Annotated[Path, typer.Option(help="What `measure` wrote.")] = HEADS_JSON,
    adaptive: Annotated[Path, typer.Option(help="What `adaptive` wrote.")] = ADAPTIVE_JSON,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = FIGURES,
) -> None:
    """Figures of the measurements."""
    found = report.read(heads, "precision"), report.read(adaptive, "sides")
    for path in plots.draw(*found, out):
        print(path)


@app.command()
def crops(
    checkpoint: Checkpoint,
    heads: Heads,
    picture: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the examples: a picture (its best instance is shown whole), or a part of one "
            "as picture@x0,y0,x1,y1 in pixels. Repeat for several rows."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG file.")] = FIGURES / "paper_crops.png",
    score: Annotated[float, typer.Option(help="Least score of the instances.")] = 0.5,
) -> None:
    """The same instances by the coarse head, 4×conv and PointRend, side by side."""
    windows = [pictures.parse(text) for text in picture] if picture else pictures.WINDOWS
    detector = Detector.open(checkpoint)
    trained = read_heads(heads, detector.checkpoint.config, detector.sha256)
    pictures.draw([pictures.contoured(detector, trained, window, score) for window in windows], out)
    print(out)


if __name__ == "__main__":
    try:
        app()
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
